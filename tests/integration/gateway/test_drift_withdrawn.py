"""Traffic that drifts: the bound is withdrawn in statistics, log, `model show` and the pack."""

import json
import time

import numpy as np
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from tests.support.harness.gateway import question, rows, running
from tests.support.harness.policy_changes import change


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("house") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        actions = {"verdicts": {"adversarial": "flag", "suspect": "flag"}}
        change(harness, lambda policy: policy.update(screens={"digits": actions}))
        yield harness


def statistics(harness):
    request = oip.ModelStatisticsRequest(name="digits")
    (found,) = harness.inference("admin").ModelStatistics(request, timeout=60).model_stats
    return found


def test_a_row_that_comes_again_and_again_withdraws_no_bound(harness):
    ask, drift = harness.inference().ModelInfer, harness.gateway.drift
    row = np.random.default_rng(2).random((1, 64), np.float32)
    for _ in range(150):
        ask(question("digits", row), timeout=60)
    drift.report()
    assert statistics(harness).screening_withdrawn == ""


def test_a_bound_is_withdrawn_where_everybody_looks(harness, tmp_path):
    assert statistics(harness).screening_withdrawn == ""
    shown = harness.command("model", "show", "digits", "1", "--json", person="auditor")
    assert json.loads(shown.output)["screening_bound"] == "holds"
    before, draw = sum(statistics(harness).verdicts.values()), np.random.default_rng(1)
    ask = harness.inference().ModelInfer
    for row in draw.random((150, 64), np.float32):
        ask(question("digits", row[None]), timeout=60)
    ask(question("digits", rows()), timeout=60)
    deadline = time.monotonic() + 60
    while not statistics(harness).screening_withdrawn:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert sum(statistics(harness).verdicts.values()) == before + 151
    log = harness.gateway.store.registry.log
    entries = [json.loads(log.entry(index)) for index in range(log.size())]
    (drifted,) = [entry for entry in entries if entry["event"] == "screening.drifted"]
    assert drifted["subject"] == "models/digits/versions/1"
    finding = drifted["body"]["finding"]
    assert finding["distinct"] < finding["requests"]
    assert (finding["callers"], finding["busiest_caller_percent"]) == (1, 100)
    shown = harness.command("model", "show", "digits", "1", person="auditor")
    assert f"withdrawn {drifted['time']}" in shown.output
    assert "screening" in shown.output
    pack = tmp_path / "pack"
    result = harness.command("audit", "export", str(pack), person="auditor")
    assert result.exit_code == 0, result.output
    version = pack / "models" / "digits" / "versions" / "1"
    told = json.loads((version / "screening-withdrawn.json").read_text())
    assert told["finding"] == drifted["body"]["finding"]
    assert "attacks" in json.loads((version / "screening.json").read_text())
