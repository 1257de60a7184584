"""The native package and numpy say the same of sessions."""

import sys

import numpy as np
import pytest

from gateway.sessions.fingerprints import HASHES, LEVELS, Fingerprinter
from gateway.sessions.neighbourhoods import KEPT, NumpyKept
from gateway.sessions.session_rows import (
    REMEMBERED,
    Disclosure,
    NumpyRows,
    SeenRow,
    class_of_version,
    session_rows,
)

KEY = b"k" * 32


@pytest.fixture(autouse=True)
def _needs_the_package() -> None:
    if isinstance(session_rows(), NumpyRows):
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
    native = Fingerprinter(KEY, "digits").encoded(rows, -0.5, 2.0, alike)
    monkeypatch.setitem(sys.modules, "sealgate_front", None)
    assert isinstance(session_rows(), NumpyRows)
    assert Fingerprinter(KEY, "digits").encoded(rows, -0.5, 2.0, alike) == native


def prints(width: int, alike: bool, seed: int = 0) -> list[bytes]:
    return Fingerprinter(KEY, "digits").encoded(given(width, seed), 0, 1, alike)


def texts() -> list[bytes]:
    rows = np.array([b"one two three %d" % (at % 150) for at in range(400)], object)
    return Fingerprinter(KEY, "mail").encoded(rows, 0, 1)


@pytest.mark.parametrize(
    "rows",
    [prints(64, True), prints(200, True), prints(64, False), prints(8, False), texts()],
    ids=["64 pixels", "200 pixels", "64 columns", "8 columns", "texts"],
)
def test_rows_are_seen_alike(rows: list[bytes]) -> None:
    draw = np.random.default_rng(1)
    classes = [class_of_version(int(at), "1") for at in draw.integers(3, size=len(rows))]
    classes[-50:] = [class_of_version(1, "2")] * 50
    told = draw.choice(
        [Disclosure.NOTHING, Disclosure.CLASS, Disclosure.CLEAN, Disclosure.CLEAN], len(rows)
    ).tolist()
    native, oracle, found = session_rows(), NumpyRows(), list[SeenRow]()
    while len(found) < len(rows):
        part = slice(len(found), len(found) + int(draw.choice([1, 1, 2, 7, 64, 150])))
        burst = rows[part], classes[part], told[part]
        seen = [SeenRow(*each) for each in native.take(*burst)]
        assert seen == oracle.take(*burst)
        found += seen
    assert {each.is_new for each in found} == {True, False}
    assert sum(each.touched for each in found) > 20


def test_rows_of_another_kind_begin_anew() -> None:
    pixels, columns = prints(64, True)[:20], prints(64, False)[:20]
    for rows in (session_rows(), NumpyRows()):
        for some in (pixels, columns, pixels):
            seen = rows.take(some, [0] * 20, [Disclosure.CLEAN] * 20)
            assert SeenRow(*seen[0]) == SeenRow(True, False, False, False, np.inf, None)


@pytest.mark.parametrize("width", [64, 300])
def test_neighbourhoods_cross_alike(width: int) -> None:
    import sealgate_front

    draw = np.random.default_rng(2)
    anchors = draw.random((12, width), np.float32)
    rows = anchors[draw.integers(12, size=2 * KEPT)]
    changed = draw.random(rows.shape) < 4 / width
    rows = np.where(changed, draw.random(rows.shape), rows).astype(np.float32)
    rows = np.concatenate([rows, rows[:50]])
    every = Fingerprinter(KEY, "digits").encoded(rows, 0, 1, True)
    classes = [class_of_version(int(draw.integers(20) == 0), "1") for _ in every]
    native, oracle, crossing, at = sealgate_front.Neighbourhoods(KEPT), NumpyKept(), 0, 0
    while at < len(every):
        part = slice(at, at + int(draw.choice([1, 3, 64, 150])))
        burst = int(draw.integers(-3, 3)), every[part], classes[part]
        found = native.crossed(*burst)
        assert found == oracle.crossed(*burst)
        at, crossing = at + len(found), crossing + sum(found)
    assert crossing


def test_what_is_no_print_is_refused() -> None:
    import sealgate_front

    one = prints(64, True)[0]
    rows, kept = sealgate_front.SessionRows(REMEMBERED), sealgate_front.Neighbourhoods(KEPT)
    for bad in (b"", one[:40], one + bytes(LEVELS), one[: 8 + 2 * HASHES + 1]):
        for take in (rows.take, NumpyRows().take):
            with pytest.raises(ValueError, match="size"):
                take([bad], [0], [2])
        with pytest.raises(ValueError, match="size"):
            kept.crossed(1, [bad], [0])
    with pytest.raises(ValueError, match="columns of different sizes"):
        rows.take([one], [0, 1], [2])
    with pytest.raises(ValueError, match="columns of different sizes"):
        kept.crossed(1, [one], [])
    with pytest.raises(ValueError, match="too few rows"):
        sealgate_front.SessionRows(1)
    with pytest.raises(ValueError, match="too few rows"):
        sealgate_front.Neighbourhoods(1)


def test_tables_of_different_sizes_are_refused() -> None:
    import sealgate_front

    tables = sealgate_front.PrintTables(3, [0] * 64, [0.0] * 64, [1] * 64, [], [])
    with pytest.raises(ValueError, match="rows of another width"):
        tables.encoded(np.zeros((2, 2), np.float32), [b""], np.zeros(32, np.int8), True)
    with pytest.raises(ValueError, match="tables of different sizes"):
        sealgate_front.PrintTables(3, [3] * 64, [0.0] * 64, [1] * 64, [], [])
