"""The board: in order, without gaps, whatever is put and removed meanwhile."""

from pathlib import Path

import pytest

from inference.backends.ray.replica import PointerBoard


@pytest.fixture
def board(tmp_path: Path) -> PointerBoard:
    board = PointerBoard(tmp_path)
    for number in (1, 2, 10):
        board.put(number, str(number).encode())
    return board


def test_what_came_later_comes_in_order(board: PointerBoard) -> None:
    assert list(board.after(0)) == [(1, b"1"), (2, b"2"), (10, b"10")]
    assert list(board.after(2)) == [(10, b"10")]
    assert list(board.after(10)) == []


def test_what_was_removed_is_not_there(board: PointerBoard) -> None:
    board.remove(2)
    board.remove(3)
    assert [number for number, _ in board.after(0)] == [1, 10]


def test_what_is_put_while_it_is_read_is_read(board: PointerBoard) -> None:
    found = []
    for number, _ in board.after(0):
        found.append(number)
        if number == 1:
            board.remove(2)
            board.put(11, b"11")
    assert found == [1, 10, 11]


def test_what_goes_between_listing_and_reading_is_passed_over(
    board: PointerBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def gone(path: Path) -> bytes:
        if path.name == "2" and path.exists():
            path.unlink()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", gone)
    assert [number for number, _ in board.after(0)] == [1, 10]


def test_a_file_that_is_being_written_is_nobodys_number(
    board: PointerBoard, tmp_path: Path
) -> None:
    (tmp_path / ".11-abc").write_bytes(b"half")
    assert [number for number, _ in board.after(0)] == [1, 2, 10]
