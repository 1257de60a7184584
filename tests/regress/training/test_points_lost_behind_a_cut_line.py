"""The first point, or the first trial of a search, that a run wrote when it went on was lost where
a kill had cut short the line before it.
"""

from pathlib import Path

from training.curves import Curves, Point


def test_are_read(tmp_path: Path) -> None:
    curves, points = (
        Curves(tmp_path / "curves.jsonl"),
        [Point(1, "train", at, 0.5) for at in (1, 2)],
    )
    curves.add(points[0])
    with (tmp_path / "curves.jsonl").open("a") as file:
        file.write('{"step": 1, "ki')
    curves.add(points[1])
    assert curves.read() == points
