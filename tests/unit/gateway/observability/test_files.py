"""The files that name metrics agree with the code: document, dashboard, alert rules."""

import json
import re
from pathlib import Path

import pytest

from gateway.observability.families import DEPRECATED
from sealgate.reasons import Reason
from tests.support.oracles.metrics import ALL_FAMILIES, documented, tables
from tests.support.oracles.programs import program, run

DEPLOY = Path(__file__).parents[4] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
LABELS = {series: {*each.labels, "instance"} for each in ALL_FAMILIES for series in each.series}

FIRING = """
rule_files: [{rules}]
tests:
  - interval: 1m
    input_series:
      - series: sealgate_certificate_end_timestamp_seconds{{certificate="tls", instance="a"}}
        values: 260100x20
      - series: sealgate_certificate_end_timestamp_seconds{{certificate="tls", instance="b"}}
        values: 7776900x20
      - series: sealgate_ready{{instance="a"}}
        values: 1x20
      - series: sealgate_ready{{instance="b"}}
        values: 0x20
      - series: sealgate_engine_queue_seconds_sum{{model="m", version="1", instance="e"}}
        values: 0+60x20
      - series: sealgate_engine_queue_seconds_count{{model="m", version="1", instance="e"}}
        values: 0+60x20
      - series: sealgate_engine_dropped_total{{model="m", version="1", instance="e"}}
        values: 0+120x20
      - series: sealgate_engine_replicas{{instance="e"}}
        values: 0x20
      - series: sealgate_requests_total{{model="m", version="1", verdict="", reason="QUEUE_FULL"}}
        values: 0+600x20
      - series: sealgate_screening_bound_withdrawn{{model="m", version="1", instance="a"}}
        values: 1x20
      - series: sealgate_screening_bound_withdrawn{{model="m", version="2", instance="a"}}
        values: 0x20
      - series: sealgate_session_findings_total{{model="m", kind="search", instance="a"}}
        values: 0x10 1x10
      - series: sealgate_session_findings_total{{model="m", kind="extraction", instance="a"}}
        values: 3x20
    alert_rule_test:
      - eval_time: 15m
        alertname: SealgateScreeningWithdrawn
        exp_alerts:
          - exp_labels: {{severity: warning, model: m, version: "1"}}
            exp_annotations:
              summary: >-
                Traffic of m 1 is no longer as its screening was calibrated: its bound on false
                alarms is withdrawn.
      - eval_time: 15m
        alertname: SealgateSessionAttacked
        exp_alerts:
          - exp_labels: {{severity: warning, instance: a, model: m, kind: search}}
            exp_annotations:
              summary: >-
                A caller's requests to m, taken together, look like an attack (search); the log of
                a says whose.
      - eval_time: 15m
        alertname: SealgateCertificateEnding
        exp_alerts:
          - exp_labels: {{severity: warning, certificate: tls, instance: a}}
            exp_annotations:
              summary: "The certificate tls of a has 3 days left: `sealgate renew`."
      - eval_time: 15m
        alertname: SealgateNotReady
        exp_alerts:
          - exp_labels: {{severity: critical, instance: b}}
            exp_annotations: {{summary: b is not ready; /readyz says why.}}
      - eval_time: 15m
        alertname: SealgateEngineQueueing
        exp_alerts:
          - exp_labels: {{severity: warning, instance: e, model: m, version: "1"}}
            exp_annotations: {{summary: Requests to m wait 1s for their batch at the engine e.}}
      - eval_time: 15m
        alertname: SealgateEngineDropping
        exp_alerts:
          - exp_labels: {{severity: warning, instance: e, model: m}}
            exp_annotations: {{summary: The engine e drops requests to m before they are run.}}
      - eval_time: 15m
        alertname: SealgateEngineWithoutReplicas
        exp_alerts:
          - exp_labels: {{severity: critical, instance: e}}
            exp_annotations: {{summary: No replica of the engine e answers.}}
      - eval_time: 15m
        alertname: SealgateOverloaded
        exp_alerts:
          - exp_labels: {{severity: warning}}
            exp_annotations: {{summary: " turns callers away for want of room."}}
      - eval_time: 15m
        alertname: SealgateNotRecording
        exp_alerts: []
"""


def dashboard() -> list[str]:
    """The expressions of its panels, and what fills its variables."""
    document = json.loads((DEPLOY / "grafana" / "sealgate.json").read_text())
    variables = [each["query"] for each in document["templating"]["list"]]
    panels = [target["expr"] for panel in document["panels"] for target in panel["targets"]]
    return [*variables, *panels]


def test_the_document_has_the_tables_that_the_code_has() -> None:
    # `python -m tests.support.oracles.metrics` writes them.
    assert documented() == tables()


def test_the_document_speaks_of_no_other_metric() -> None:
    text = (DEPLOY.parent / "docs" / "reference" / "metrics.md").read_text()
    assert set(re.findall(r"\bsealgate_\w+", text)) == {family.name for family in ALL_FAMILIES}


def test_there_are_no_two_of_a_name() -> None:
    series = [name for family in ALL_FAMILIES for name in family.series]
    assert len(set(series)) == len(series)


@pytest.mark.parametrize("text", [*dashboard(), ALERTS.read_text()])
def test_dashboard_and_alerts_name_metrics_that_there_are(text: str) -> None:
    assert set(re.findall(r"\bsealgate_\w+", text)) <= LABELS.keys()


@pytest.mark.parametrize("text", [*dashboard(), ALERTS.read_text()])
def test_dashboard_and_alerts_choose_by_labels_that_there_are(text: str) -> None:
    for name, choice in re.findall(r"\b(sealgate_\w+)\{([^}]*)\}", text):
        assert set(re.findall(r"(\w+)(?:=~|!=|!~|=)", choice)) <= LABELS[name]


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for text in dashboard() for name in re.findall(r"\bsealgate_\w+", text)}
    hidden = {family.name for family in ALL_FAMILIES if shown.isdisjoint(family.series)}
    assert hidden == {"sealgate_policy_version", *DEPRECATED}


def test_alerts_name_reasons_that_there_are() -> None:
    chosen = re.findall(r'reason(?:=~?|!=)"([A-Z_|]+)"', ALERTS.read_text())
    assert chosen
    for choice in chosen:
        assert set(choice.split("|")) <= set(Reason.__members__)


def test_prometheus_takes_the_rules_and_they_fire(tmp_path: Path) -> None:
    tests = tmp_path / "tests.yml"
    tests.write_text(FIRING.format(rules=ALERTS))
    promtool = program("promtool")
    for command in (["check", "rules", ALERTS], ["test", "rules", tests]):
        checked = run([promtool, *command])
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_prometheus_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    asked = [text.replace("$__rate_interval", "5m") for text in dashboard() if "(" in text]
    rules = [
        {"record": f"asked:{number}", "expr": text}
        for number, text in enumerate(asked)
        if not text.startswith("label_values")
    ]
    # JSON is YAML.
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "asked", "rules": rules}]}))
    checked = run([program("promtool"), "check", "rules", file])
    assert checked.returncode == 0, checked.stdout + checked.stderr
