"""The files that name health metrics agree with the code: document and alert rules."""

import re
from pathlib import Path

from sealgate.health.findings import FAMILIES
from tests.support.harness.gateway import ROOT
from tests.support.oracles.programs import program, run

ALERTS = ROOT / "deploy" / "prometheus" / "health-alerts.yml"
FIRING = """
rule_files: [{rules}]
tests:
  - interval: 1m
    input_series:
      - series: sealgate_health_different_answers{{model="m", alias="a", version="2", instance="i"}}
        values: 3x20
      - series: sealgate_health_well{{check="serving", subject="m", instance="i"}}
        values: 0x20
      - series: sealgate_health_well{{check="golden", subject="m/b", instance="i"}}
        values: 1x20
      - series: sealgate_health_status{{instance="i"}}
        values: 1x20
      - series: sealgate_health_status{{instance="j"}}
        values: 2x20
      - series: sealgate_health_asked_timestamp_seconds{{instance="i"}}
        values: 0+60x20
      - series: sealgate_health_asked_timestamp_seconds{{instance="j"}}
        values: -600x20
    alert_rule_test:
      - eval_time: 15m
        alertname: SealgateGoldenAnswersDiffer
        exp_alerts:
          - exp_labels: {{severity: critical, model: m, alias: a, version: "2", instance: i}}
            exp_annotations:
              summary: m/a (version 2) gives 3 other answers than its golden ones.
      - eval_time: 15m
        alertname: SealgateHealthWrong
        exp_alerts:
          - exp_labels: {{severity: critical, check: serving, subject: m, instance: i}}
            exp_annotations: {{summary: serving of m is wrong; `sealgate health` says why.}}
      - eval_time: 15m
        alertname: SealgateHealthNotAsked
        exp_alerts:
          - exp_labels: {{severity: critical, instance: j}}
            exp_annotations: {{summary: The health check on j cannot ask the gateway.}}
      - eval_time: 15m
        alertname: SealgateHealthNotRun
        exp_alerts:
          - exp_labels: {{severity: warning, instance: j}}
            exp_annotations: {{summary: The health check on j has not ended for 25m 0s.}}
"""


NAMES = {f"sealgate_health_{family.name}" for family in FAMILIES}


def named(path: Path) -> set[str]:
    return set(re.findall(r"\bsealgate_health_\w+", path.read_text()))


def test_alerts_name_metrics_that_there_are() -> None:
    assert named(ALERTS) <= NAMES


def test_the_document_names_them_all() -> None:
    assert named(ROOT / "docs" / "how-to" / "health.md") == NAMES


def test_prometheus_takes_them_and_they_fire(tmp_path: Path) -> None:
    tests = tmp_path / "tests.yml"
    tests.write_text(FIRING.format(rules=ALERTS))
    promtool = program("promtool")
    for command in (["check", "rules", ALERTS], ["test", "rules", tests]):
        checked = run([promtool, *command])
        assert checked.returncode == 0, checked.stdout + checked.stderr
