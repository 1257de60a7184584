"""A part of the watermark benchmark that is left out keeps its rows of the run before."""

import json
from pathlib import Path
from typing import Any

from benchmarks.watermark import NETWORKS, earlier_parts


def written(path: Path, **more: Any) -> Path:
    document = {
        "rows": [{"model": "CNN", "z": 47.0}, {"model": "MLP", "z": 48.0}],
        "costs": [{"model": "MLP", "keys": 40}],
        "null": [{"weights": "unmarked MLP", "largest_z": 3.7}],
        NETWORKS: [{"networks": "unrelated", "claimed": 0}],
    }
    path.write_text(json.dumps(document | more))
    return path


def test_each_part_has_the_rows_of_its_network(tmp_path: Path) -> None:
    commits = {"MLP": "abc", NETWORKS: "def"}
    found = earlier_parts(written(tmp_path / "watermark.json", commits=commits))
    assert list(found) == ["CNN", "MLP", NETWORKS]
    assert found["MLP"] == {
        "rows": [{"model": "MLP", "z": 48.0}],
        "costs": [{"model": "MLP", "keys": 40}],
        "null": [{"weights": "unmarked MLP", "largest_z": 3.7}],
        "commit": "abc",
    }
    assert found[NETWORKS][NETWORKS] == [{"networks": "unrelated", "claimed": 0}]


def test_a_part_whose_commit_was_not_noted_says_so(tmp_path: Path) -> None:
    found = earlier_parts(written(tmp_path / "watermark.json"))
    assert "before" in found["CNN"]["commit"]


def test_without_a_run_before_there_is_none(tmp_path: Path) -> None:
    assert earlier_parts(tmp_path / "watermark.json") == {}
