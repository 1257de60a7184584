"""A table whose columns are declared, from its publication to a refused request."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from demo.questions import question, reason_for
from inference.engine.version_contents import RESPONSE
from inference.model.config import ModelConfig
from publishing.attacks.probe import Probe
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.worker_tasks.forward import ResponseGraph
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import SignedVersion
from tests.support.builders.models import tables
from tests.support.harness.gateway import GatewayHarness, refusal, running

MODEL = "breast-cancer"
# Reports count what turns the INT8 answer, `succeeded` what turns its twin's: few rows part them.
_PARTED = 0.03


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("table")


@pytest.fixture(scope="module")
def harness(folder: Path) -> Iterator[GatewayHarness]:
    source, data = tables.write(folder)
    with running(folder / "state") as harness:
        result = harness.command("model", "publish", str(source), "--data", str(data))
        assert result.exit_code == 0, result.output
        harness.promote(MODEL, 1)
        yield harness


def test_a_request_that_nobody_could_make_is_refused(harness: GatewayHarness) -> None:
    stub, table = harness.inference(), tables.table()
    own = tables.rows("test")[:8]
    # Screening may refuse one of them, within its bound.
    reasons = {reason_for(stub, question(MODEL, row[None])) for row in own}
    assert None in reasons
    assert Reason.TENSOR_RANGE not in reasons
    for place, value in (
        (tables.RADIUS, table.low[tables.RADIUS] - 0.01),
        (tables.RADIUS, table.high[tables.RADIUS] + 0.01),
        (tables.AREA, own[7, tables.AREA] + table.whole[tables.AREA] / 3),
    ):
        moved = own.copy()
        moved[7, place] = value
        assert refusal(stub.ModelInfer, question(MODEL, moved), timeout=60) is Reason.TENSOR_RANGE


def test_the_version_says_what_its_columns_hold(harness: GatewayHarness) -> None:
    shown = harness.command("model", "show", MODEL, "1")
    assert "mean radius from 8 to 24" in shown.output
    shown = harness.command("model", "show", MODEL, "1", "--json")
    bodies = {item["kind"]: item["body"] for item in json.loads(shown.output)["evidence"]}
    columns = bodies["screening-report"]["columns"]
    assert columns["mean area"] == "in steps of 10"
    assert sum("immutable" in holds for holds in columns.values()) == 10
    card = bodies["mlbom"]["metadata"]["component"]["modelCard"]
    told = {each["name"]: each["value"] for each in card["properties"]}
    assert told["sealgate:column:mean radius"] == "from 8 to 24"


def succeeded(harness: GatewayHarness, config: ModelConfig) -> dict[str, float]:
    """By attack, how many test rows the version's own graph turns."""
    registry = harness.registry("auditor")
    signed = SignedVersion.fetch(registry, [harness.governance("auditor").policy()], MODEL, 1)
    probe = Probe.of(ResponseGraph.of(signed.file(registry, RESPONSE)), config)
    x = tables.rows("test")
    own, made = probe.answers(x), probe.attacks(x, np.random.default_rng(0))
    found = {name: float(np.mean(probe.answers(moved) != own)) for name, moved in made}
    return {name: share for name, share in found.items() if not name.startswith("near")}


def test_the_report_counts_what_could_be_sent(harness: GatewayHarness) -> None:
    shown = harness.command("model", "show", MODEL, "1", "--json")
    bodies = {item["kind"]: item["body"] for item in json.loads(shown.output)["evidence"]}
    reported = bodies["screening-report"]["attacks"]
    counted = succeeded(harness, tables.config())
    assert {name: reported[name]["succeeded"] for name in counted} == pytest.approx(
        counted, abs=_PARTED
    )
    anything = succeeded(harness, replace(tables.config(), columns=()))
    assert anything["fgsm-0.1"] > 1.2 * counted["fgsm-0.1"]


@pytest.mark.slow
def test_a_red_team_takes_rows_that_could_be_sent_and_no_others(
    harness: GatewayHarness, folder: Path
) -> None:
    rows, words = folder / "rows.npy", ("--victims", "3", "--queries", "100", "--json")
    np.save(rows, tables.rows("test"))
    result = harness.command("attack", MODEL, "1", "--data", str(rows), *words, person="approver-1")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    counted = succeeded(harness, tables.config())
    assert {name: report["attacks"][name]["succeeded"] for name in counted} == pytest.approx(
        counted, abs=_PARTED
    )
    assert counted["pgd-0.3"] > 0.2
    assert set(report["queries"]) == {"hop-skip-jump"}
    evaluated = harness.command("screen", "evaluate", MODEL, "1", str(rows), "--json")
    assert {row["rows"] for row in json.loads(evaluated.stdout)} >= {"clean", "darker"}
    off = tables.rows("test")
    off[3, tables.AREA] += tables.table().whole[tables.AREA] / 2
    np.save(rows, off)
    for command in (
        ("attack", MODEL, "1", "--data", str(rows)),
        ("screen", "evaluate", MODEL, "1", str(rows)),
    ):
        assert "TENSOR_RANGE" in harness.command(*command, person="approver-1").output


def test_data_that_nobody_could_send_are_not_published(harness: GatewayHarness) -> None:
    config = SourceFolder.read(harness.state.parent / "tumours").config
    Dataset.read(harness.state.parent / "tumours.safetensors").check(config)
    with pytest.raises(SealgateError) as refused:
        Dataset.read(tables.DATA).check(config)
    assert refused.value.reason is Reason.TENSOR_RANGE
