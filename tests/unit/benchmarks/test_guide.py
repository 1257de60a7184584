"""A demand of the guide is met only where a result file says so."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.guide import MET, MISSED, NOT_MEASURED, SOURCES, GuideSource, gathered, targets

PLACED = GuideSource(2, "mixed", "placement.json", ("rate",))
(POISONED,) = (source for source in SOURCES if source.item == 6)
(WINDOWS,) = (source for source in SOURCES if source.file == "windows.json")


def aim(name: str, value: float | None, target: float = 1.0) -> dict[str, Any]:
    return {"name": name, "value": value, "target": target, "least": True, "why": "", "met": None}


def states(folder: Path, source: GuideSource, **document: Any) -> list[str]:
    whole = {"rows": [], "targets": [], **document}
    (folder / source.file).write_text(json.dumps(whole))
    return [row["state"] for row in gathered(source, folder)]


def test_a_figure_is_met_or_missed_as_its_file_says(tmp_path: Path) -> None:
    both = [aim("rate over one", 2.0), aim("rate over the other", 0.5), aim("lost", 0.0)]
    assert states(tmp_path, PLACED, targets=both) == [MET, MISSED]
    (row, _) = gathered(PLACED, tmp_path)
    assert (row["figure"], row["value"], row["file"]) == ("rate over one", 2.0, "placement.json")


def test_what_was_not_run_is_not_measured(tmp_path: Path) -> None:
    assert states(tmp_path, PLACED, targets=[aim("rate", None)]) == [NOT_MEASURED]
    assert states(tmp_path, PLACED, targets=[aim("lost", 0.0)]) == [NOT_MEASURED]
    (distilled,) = (source for source in SOURCES if source.item == 4)
    asked = gathered(distilled, tmp_path)
    assert [(row["state"], row["target"]) for row in asked] == [(NOT_MEASURED, 12.0)] * 2
    (tmp_path / "placement.json").unlink()
    assert [row["why"] for row in gathered(PLACED, tmp_path)] == ["the file is not there"]


@pytest.mark.parametrize(("seeds", "state"), [(3, NOT_MEASURED), (9, NOT_MEASURED), (10, MET)])
def test_fewer_seeds_than_the_aim_asks_for_do_not_count(
    tmp_path: Path, seeds: int, state: str
) -> None:
    found = [aim("one poisoner of nine (labels turned): points lost", 2.0)]
    told = (("lowest-loss, labels", seeds), ("closest, labels", 3))
    rows = [{"arm": arm, "below_honest": {"seeds": count}} for arm, count in told]
    rows.append({"arm": "central"})
    assert states(tmp_path, POISONED, targets=found, rows=rows) == [state]
    (row,) = gathered(POISONED, tmp_path)
    assert (row["value"] is None) == (state == NOT_MEASURED)


def test_the_high_end_of_what_a_poisoner_takes_is_held_to_the_same_aim(tmp_path: Path) -> None:
    found = [aim("one poisoner of nine (labels turned): points lost", 2.0)]
    told = {"seeds": 10, "mean": 0.3, "off": 0.8}
    rows = [{"arm": "lowest-loss"}, {"arm": "lowest-loss, labels", "below_honest": told}]
    assert states(tmp_path, POISONED, targets=found, rows=rows) == [MET, MISSED]
    assert gathered(POISONED, tmp_path)[1]["value"] == pytest.approx(1.1)


@pytest.mark.parametrize("item", [1, 2, 3, 4, 5, 6, 7, 9])
def test_every_part_with_figures_has_a_source(item: int) -> None:
    assert item in {source.item for source in SOURCES}


def test_shorter_texts_than_the_aim_asks_for_do_not_count(tmp_path: Path) -> None:
    found = [aim("memory of keys and values less by", 2.0)]
    assert states(tmp_path, WINDOWS, targets=found, tokens=2048) == [NOT_MEASURED]
    assert states(tmp_path, WINDOWS, targets=found, tokens=8192) == [MET]


def test_recall_stands_beside_perplexity(tmp_path: Path) -> None:
    rows = [{"way": way, "recall": {"50%": share}} for way, share in (("full", 1), ("windows", 0))]
    found = [aim("perplexity kept on an address", 1.0)]
    assert states(tmp_path, WINDOWS, targets=found, rows=rows, tokens=8192) == [MET, MISSED]


def test_what_is_not_measured_is_never_met(tmp_path: Path) -> None:
    states(tmp_path, PLACED, targets=[aim("rate", None, target=0.0)])
    (found,) = targets(gathered(PLACED, tmp_path))
    assert not found.met
    assert found.value is None
    assert found.why.startswith(NOT_MEASURED)
