"""Searches over several callers are found where one of them is told another class."""

from dataclasses import replace

import numpy as np
import pytest

from gateway.sessions.fingerprints import Fingerprint, Fingerprinter
from gateway.sessions.neighbourhoods import KEPT, Neighbourhoods
from gateway.sessions.query_attack_detection import CallerSession
from gateway.sessions.session_rows import Disclosure, class_of_version

PRINTER = Fingerprinter(b"k" * 32, "digits")
DRAW = np.random.default_rng(3)


def prints(rows: np.ndarray) -> list[bytes]:
    return PRINTER.encoded(rows.astype(np.float32), 0, 1, alike=True)


def sparse(row: np.ndarray, number: int, changed: int = 6) -> np.ndarray:
    """Rows [number, d] of each of which so many elements are others."""
    rows = np.repeat(row[None], number, axis=0)
    for each in rows:
        each[DRAW.choice(len(row), changed, replace=False)] = DRAW.random(changed)
    return rows


def take(
    kept: Neighbourhoods, caller: str, row: np.ndarray, label: int, version: str = "1"
) -> bool:
    return kept.crossed(caller, prints(row[None]), [class_of_version(label, version)])[0]


def of_levels(first: int, rest: int) -> Fingerprint:
    """The print of a row whose first 16 levels are `first`."""
    (one,) = PRINTER.of(DRAW.random((1, 64)).astype(np.float32), 0, 1, alike=True)
    levels = np.full_like(one.levels, rest)
    levels[:16] = first
    return replace(one, levels=levels)


@pytest.mark.parametrize(
    ("first", "rest", "near"), [(-63, 65, False), (65, -63, False), (64, 66, True)]
)
def test_levels_128_apart_are_not_near(first: int, rest: int, near: bool) -> None:
    """In int8, -63 - 65 is -128, and so is its absolute value."""
    told, last = of_levels(first, rest), of_levels(65, 65)
    kept, session = Neighbourhoods(), CallerSession()
    for caller in ("ann", "bob", "dora"):
        kept.crossed(caller, [told.encode()], [class_of_version(3, "1")])
    assert kept.crossed("carla", [last.encode()], [class_of_version(7, "1")])[0] is near
    session.add(told, 7, 0.0, Disclosure.CLEAN)
    assert (session.add(last, 7, 0.0, Disclosure.CLEAN).anchor == 7) is near


@pytest.mark.parametrize("width", [64, 784])
def test_another_class_than_three_rows_of_two_callers_got_crosses(width: int) -> None:
    kept = Neighbourhoods()
    *told, last = sparse(DRAW.random(width), 4)
    for caller, row in zip(("ann", "bob", "ann"), told, strict=True):
        assert not take(kept, caller, row, 3)
    assert not take(kept, "carla", last, 3, "2")
    assert take(kept, "carla", last, 7)
    # And again, under another name.
    assert take(kept, "dora", last, 7)
    assert not take(kept, "carla", last, 3)


def test_one_caller_or_two_rows_are_not_enough() -> None:
    kept = Neighbourhoods()
    rows = sparse(DRAW.random(64), 8)
    for row in rows[:5]:
        assert not take(kept, "ann", row, 3)
    assert not take(kept, "bob", rows[5], 7)
    few = Neighbourhoods()
    for caller, row in zip(("ann", "bob"), rows, strict=False):
        assert not take(few, caller, row, 3)
    assert not take(few, "carla", rows[2], 7)


def test_where_classes_differed_before_nothing_crosses() -> None:
    kept = Neighbourhoods()
    rows = sparse(DRAW.random(64), 6)
    for caller, row, label in zip(("ann", "bob", "carla"), rows, (3, 7, 3), strict=False):
        assert not take(kept, caller, row, label)
    assert not take(kept, "dora", rows[4], 7)


def test_a_caller_who_asks_again_takes_no_place_of_others() -> None:
    kept = Neighbourhoods()
    *told, last = sparse(DRAW.random(64), 4)
    for caller, row in zip(("ann", "bob", "ann"), told, strict=True):
        take(kept, caller, row, 3)
    other = DRAW.random((1, 64))
    for _ in range(KEPT + 10):
        kept.crossed("otto", prints(other), [5])
    assert take(kept, "carla", last, 7)


def test_the_last_rows_alone_are_kept() -> None:
    kept = Neighbourhoods()
    *told, last = sparse(DRAW.random(64), 4)
    for caller, row in zip(("ann", "bob", "ann"), told, strict=True):
        take(kept, caller, row, 3)
    for at in range(0, KEPT, 256):
        kept.crossed(f"otto-{at}", prints(DRAW.random((256, 64))), [0] * 256)
    assert not take(kept, "carla", last, 7)
