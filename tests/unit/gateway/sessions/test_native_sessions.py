"""The native package and numpy say the same of sessions."""

import sys

import numpy as np
import pytest

from gateway.sessions.comparison import (
    REMEMBERED,
    Comparer,
    Ring,
    compare_natively,
    compare_with_numpy,
    comparer,
)
from gateway.sessions.fingerprints import PrintColumns, Printer
from gateway.sessions.query_attacks import CallerSession

KEY = b"k" * 32


@pytest.fixture(autouse=True)
def _needs_the_package() -> None:
    if comparer() is compare_with_numpy:
        pytest.skip("sealgate_front is not installed, or of a release before")


def given(width: int, seed: int = 0) -> np.ndarray:
    """Most rows are new, some near others, some asked again."""
    draw = np.random.default_rng([width, seed])
    fresh = draw.random((2 * REMEMBERED, width), np.float32)
    fresh[:3, 0] = (-3.0, 1e9, 0.0)
    near = np.clip(fresh[:40] + draw.normal(0, 0.01, (40, width)), 0, 1).astype(np.float32)
    rows = np.concatenate([fresh, near, fresh[draw.integers(0, len(fresh), 40)]])
    return rows[draw.permutation(len(rows))]


@pytest.mark.parametrize("width", [1, 8, 12, 63, 64, 200, 300])
@pytest.mark.parametrize("alike", [True, False])
def test_prints_are_the_same(monkeypatch: pytest.MonkeyPatch, width: int, alike: bool) -> None:
    rows = given(width)
    native = Printer(KEY, "digits").encoded(rows, -0.5, 2.0, alike)
    monkeypatch.setitem(sys.modules, "sealgate_front", None)
    assert comparer() is compare_with_numpy
    assert Printer(KEY, "digits").encoded(rows, -0.5, 2.0, alike) == native


@pytest.mark.parametrize(("width", "alike"), [(64, True), (200, True), (64, False), (8, False)])
def test_comparisons_are_the_same(width: int, alike: bool) -> None:
    columns = PrintColumns.decode(Printer(KEY, "digits").encoded(given(width), 0, 1, alike))
    draw = np.random.default_rng(1)
    labels = draw.integers(3, size=len(columns)).astype(np.int32)
    ring, at, seen = Ring.like(columns), 0, 0
    while at < len(columns):
        part = slice(at, at + int(draw.choice([1, 1, 2, 7, 64, 150])))
        now, own = columns.part(part), labels[part]
        native, oracle = (each(ring, now, own) for each in (compare_natively, compare_with_numpy))
        for name in ("own", "labels", "near", "close"):
            assert np.array_equal(getattr(native, name), getattr(oracle, name)), (name, at)
        assert (native.touched, native.repeats) == (oracle.touched, oracle.repeats)
        assert native.gaps == oracle.gaps
        ring.add(now, own)
        at, seen = at + len(now), seen + sum(native.touched)
    assert seen > 20


def test_comparisons_of_texts_are_the_same() -> None:
    texts = np.array([b"one two three %d" % (at % 50) for at in range(400)], object)
    columns = PrintColumns.decode(Printer(KEY, "mail").encoded(texts, 0, 1))
    labels = np.zeros(len(columns), np.int32)
    ring = Ring.like(columns)
    ring.add(columns.part(slice(0, 200)), labels[:200])
    now = columns.part(slice(200, 300))
    native, oracle = (f(ring, now, labels[:100]) for f in (compare_natively, compare_with_numpy))
    assert np.array_equal(native.near, oracle.near)
    assert (native.repeats, oracle.repeats) == (True, True)
    assert (native.gaps, oracle.gaps) == (None, None)


@pytest.mark.parametrize("compare", [compare_natively, compare_with_numpy])
def test_a_session_is_judged_alike(compare: Comparer) -> None:
    rows = given(64, seed=3)
    prints = Printer(KEY, "digits").of(rows, 0, 1, True)
    one, other = CallerSession(compare), CallerSession()
    for at, each in enumerate(prints):
        assert one.add(each, at % 3, 0.0) == other.add(each, at % 3, 0.0)


def test_columns_of_different_sizes_are_refused() -> None:
    import sealgate_front

    columns = PrintColumns.decode(Printer(KEY, "digits").encoded(given(64)[:4], 0, 1, True))
    labels = np.zeros(4, np.int32)
    with pytest.raises(ValueError, match="columns of different sizes"):
        sealgate_front.compare((columns, labels[:3]), (columns, labels), 4, (0, REMEMBERED), 14)
    with pytest.raises(ValueError, match="places outside the ring"):
        sealgate_front.compare((columns, labels), (columns, labels), 5, (0, REMEMBERED), 14)
    tables = sealgate_front.PrintTables(3, [0] * 64, [0.0] * 64, [1] * 64, [], [])
    with pytest.raises(ValueError, match="rows of another width"):
        tables.encoded(np.zeros((2, 2), np.float32), [b""], np.zeros(32, np.int8), True)
    with pytest.raises(ValueError, match="tables of different sizes"):
        sealgate_front.PrintTables(3, [3] * 64, [0.0] * 64, [1] * 64, [], [])
