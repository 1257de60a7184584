"""A part of the watermark benchmark that is left out keeps its rows of the run before."""

import json
from pathlib import Path
from typing import Any

from benchmarks.marking.nulls import DECODERS
from benchmarks.watermark import NETWORKS, earlier_parts


def written(path: Path, **more: Any) -> Path:
    document = {
        "rows": [{"model": "CNN", "z": 47.0}, {"model": "MLP", "z": 48.0}],
        "stored": [{"model": "MLP", "z": 32.0}],
        "costs": [{"model": "MLP", "keys": 40}],
        "null": [{"weights": "unmarked MLP", "largest_z": 3.7}],
        NETWORKS: [{"networks": "unrelated", "claimed": 0}],
    }
    path.write_text(json.dumps(document | more))
    return path


def test_each_part_has_the_rows_of_its_network_and_kind(tmp_path: Path) -> None:
    commits = {"MLP: costs": "abc", NETWORKS: "def"}
    found = earlier_parts(written(tmp_path / "watermark.json", commits=commits))
    assert found["MLP: rows"]["rows"] == [{"model": "MLP", "z": 48.0}]
    assert found["MLP: stored"]["rows"] == [{"model": "MLP", "z": 32.0}]
    assert found["MLP: costs"] == {"rows": [{"model": "MLP", "keys": 40}], "commit": "abc"}
    assert found["MLP: null"]["rows"] == [{"weights": "unmarked MLP", "largest_z": 3.7}]
    assert found[NETWORKS]["commit"] == "def"
    # Of the CNN no costs were measured.
    assert {name for name in found if name.startswith("CNN")} == {"CNN: rows"}


def test_a_part_whose_commit_was_not_noted_says_so(tmp_path: Path) -> None:
    found = earlier_parts(written(tmp_path / "watermark.json"))
    assert "before" in found["CNN: rows"]["commit"]


def test_decoders_that_nobody_marked_are_a_part_of_their_own(tmp_path: Path) -> None:
    unmarked = [{"networks": "unrelated", "claimed": 0}, {"networks": DECODERS, "claimed": 0}]
    found = earlier_parts(written(tmp_path / "watermark.json", **{NETWORKS: unmarked}))
    assert [found[part]["rows"] for part in (NETWORKS, DECODERS)] == [[each] for each in unmarked]


def test_without_a_run_before_there_is_none(tmp_path: Path) -> None:
    assert earlier_parts(tmp_path / "watermark.json") == {}
