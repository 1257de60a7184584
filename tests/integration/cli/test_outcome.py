"""`sealgate outcome` against a gateway: answers kept, outcomes reported, shown and attached."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sealgate.reasons import Reason
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.harness.gateway import GatewayHarness, rows, running
from tests.support.harness.outcomes import TAKEN
from tests.support.harness.policy_changes import accept


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("outcome") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        accept(harness, outcomes=TAKEN)
        yield harness


@pytest.fixture(scope="module")
def kept(harness: GatewayHarness, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two answers: to one row, and to two."""
    folder = tmp_path_factory.mktemp("kept")
    for number, count in enumerate((1, 2)):
        np.save(folder / "rows.npy", rows(count=20)[number : number + count])
        words = ("infer", "digits", "--input", str(folder / "rows.npy"))
        told = harness.command(*words, "--keep", str(folder / "answers.jsonl"))
        assert told.exit_code == 0, told.output
    return folder / "answers.jsonl"


def classes(kept: Path) -> list[tuple[int, list[int]]]:
    answers = [json.loads(line) for line in kept.read_text().splitlines()]
    return [(a["index"], np.argmax(a["outputs"][0]["data"], axis=1).tolist()) for a in answers]


def test_what_is_no_outcome_is_refused(harness: GatewayHarness, kept: Path, tmp_path: Path) -> None:
    file = tmp_path / "outcomes.csv"
    for text, words in (
        ("index,label\nseven,1\n", "does not hold outcomes"),
        ("index,mood\n7,1\n", "does not hold outcomes"),
        ("index,label\n77777,1\n", "no kept answer has the index 77777"),
    ):
        file.write_text(text)
        told = harness.command("outcome", "report", str(file), "--answers", str(kept))
        assert told.exit_code == 1
        assert words in told.output
    (tmp_path / "bad.jsonl").write_text("{}\n")
    words = ("outcome", "report", str(file), "--answers", str(tmp_path / "bad.jsonl"))
    assert "bad.jsonl, line 1: not a kept answer" in harness.command(*words).output


def test_a_table_is_reported_shown_and_attached(
    harness: GatewayHarness, kept: Path, tmp_path: Path
) -> None:
    (first, [one]), (second, [two, three]) = classes(kept)
    file = tmp_path / "outcomes.csv"
    wrong = (three + 1) % 10
    lines = [f"{first},{one},young", f"{second},{two},old", f"{second},{wrong},old"]
    file.write_text("\n".join(["index,label,age", *lines]))
    report = ("outcome", "report", str(file), "--answers", str(kept))
    for _ in range(2):
        told = harness.command(*report)
        assert (told.exit_code, told.output) == (0, "2 reported\n")
    told = harness.command("outcome", "show", "digits", "--json")
    assert told.exit_code == 0, told.exception
    [series] = json.loads(told.output)
    assert series["alias"] == "production"
    assert series["figures"]["outcomes"] == 3
    assert series["figures"]["accuracy"] == pytest.approx(2 / 3)
    assert [(g["group"], g["error"]) for g in series["groups"]] == [("old", 0.5), ("young", 0.0)]
    shown = harness.command("outcome", "show", "digits").output
    assert "66.7 %" in shown
    assert "age: old" in shown
    told = harness.command("outcome", "attach", "digits", "1")
    assert told.exit_code == 0, told.output
    version = GetVersionRequest(name="models/digits/versions/1")
    assert len(harness.registry("auditor").GetVersion(version).version.attached) == 1
    told = harness.command("outcome", "attach", "digits", "2")
    assert "no outcome of version 2 has been reported" in told.output
    folder = tmp_path / "dossier"
    words = ("audit", "dossier", "digits", str(folder), "--template", "annex-iv")
    told = harness.command(*words, "--key", str(harness.state / "people/admin/signing.key"))
    assert told.exit_code == 0, told.output
    [page] = folder.glob("*.md")
    assert "3 of production, 66.7 % right" in page.read_text()


def test_refusals_are_listed(harness: GatewayHarness, kept: Path, tmp_path: Path) -> None:
    (first, [one]), _ = classes(kept)
    file = tmp_path / "outcomes.jsonl"
    file.write_text(json.dumps({"index": first, "truths": [str((one + 1) % 10)]}))
    told = harness.command("outcome", "report", str(file), "--answers", str(kept))
    assert told.exit_code == 1
    assert "0 reported" in told.output
    assert Reason.OUTCOME_EXISTS.name in told.output
