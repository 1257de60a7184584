"""Features of traffic: kept by version and day, for so many days, and no more than so many."""

import stat
from datetime import date, timedelta

import numpy as np

from inference.screening.traffic import TrafficFolder

ONE, OTHER = ("sha256:" + letter * 64 for letter in "12")
TODAY = date(2026, 11, 25)
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_rows_are_read_as_they_were_written_and_by_version(tmp_path) -> None:
    folder = TrafficFolder(tmp_path / "features", 30, 100)
    assert folder.add(ONE, ROWS, TODAY) == 4
    assert folder.add(ONE, ROWS[:1], TODAY + timedelta(1)) == 1
    assert np.array_equal(folder.read(ONE, 3, TODAY), np.concatenate([ROWS, ROWS[:1]]))
    assert folder.read(OTHER, 3, TODAY).shape == (0, 3)
    assert folder.read(ONE, 5, TODAY).shape == (0, 5)
    assert stat.S_IMODE((tmp_path / "features").stat().st_mode) == 0o700


def test_a_day_has_room_for_so_many(tmp_path) -> None:
    folder = TrafficFolder(tmp_path, 30, 5)
    assert [folder.add(ONE, ROWS, TODAY) for _ in range(3)] == [4, 1, 0]
    assert len(folder.read(ONE, 3, TODAY)) == 5


def test_what_is_too_old_is_neither_read_nor_kept(tmp_path) -> None:
    folder = TrafficFolder(tmp_path, 30, 100)
    folder.add(ONE, ROWS, TODAY)
    folder.add(OTHER, ROWS, TODAY + timedelta(20))
    later = TODAY + timedelta(30)
    assert len(folder.read(ONE, 3, later)) == 0
    folder.prune(later)
    assert [path.name for path in tmp_path.glob("*/*")] == ["2026-12-15.3.f32"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_row_that_was_cut_off_is_left_out(tmp_path) -> None:
    folder = TrafficFolder(tmp_path, 30, 100)
    folder.add(ONE, ROWS, TODAY)
    (path,) = tmp_path.glob("*/*.f32")
    path.write_bytes(path.read_bytes()[:-4])
    assert np.array_equal(folder.read(ONE, 3, TODAY), ROWS[:3])
