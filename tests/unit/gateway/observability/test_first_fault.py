"""Fault counters start at zero, so that the first fault raises an alert."""

from pathlib import Path

import pytest

from gateway.observability import engine, families
from gateway.observability.engine import faults
from gateway.observability.families import Family
from inference.engine.statistics import Duration, RunFault, Statistics
from tests.support.harness.gateway import ROOT
from tests.support.oracles.programs import program, run

FIRING = """
rule_files: [{rules}]
tests:
  - interval: 1m
    input_series:
      - series: sealgate_faults_total{{model="m", fault="run_ended", instance="a"}}
        values: 0x10 1x10
      - series: sealgate_engine_faults_total{{model="m", fault="run_ended", instance="e"}}
        values: 0x10 1x10
      - series: sealgate_requests_total{{reason="RECORD_FAILED", instance="a"}}
        values: _x11 7x20
      - series: sealgate_requests_total{{reason="RECORD_FAILED", instance="b"}}
        values: 7x30
    alert_rule_test:
      - eval_time: 13m
        alertname: SealgateFaults
        exp_alerts:
          - exp_labels: {{severity: warning, instance: a, model: m, fault: run_ended}}
            exp_annotations: {{summary: "m: run_ended."}}
      - eval_time: 13m
        alertname: SealgateEngineFaults
        exp_alerts:
          - exp_labels: {{severity: warning, instance: e, model: m, fault: run_ended}}
            exp_annotations: {{summary: "m at the engine e: run_ended."}}
      - eval_time: 13m
        alertname: SealgateNotRecording
        exp_alerts:
          - exp_labels: {{severity: critical, instance: a, reason: RECORD_FAILED}}
            exp_annotations:
              summary: >-
                a cannot write its answer log (RECORD_FAILED) and answers nothing meanwhile.
      - eval_time: 18m
        alertname: SealgateNotRecording
        exp_alerts: []
"""


@pytest.mark.parametrize("family", [families.FAULTS, engine.FAULTS])
def test_every_fault_counter_starts_at_zero(family: Family) -> None:
    statistics = Statistics()
    statistics.happened(RunFault.RUN_ENDED)
    told = faults(family, {("m", "1"): statistics.report(Duration())}).samples
    counts = {sample.labels["fault"]: sample.value for sample in told}
    assert counts == {"out_of_memory": 0, "run_ended": 1, "sessions_replaced": 0}


def test_the_first_fault_raises_an_alert(tmp_path: Path) -> None:
    rules = tmp_path / "tests.yml"
    rules.write_text(FIRING.format(rules=ROOT / "deploy" / "prometheus" / "alerts.yml"))
    checked = run([program("promtool"), "test", "rules", rules])
    assert checked.returncode == 0, checked.stdout + checked.stderr
