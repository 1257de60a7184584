"""Renewing a certificate and its key one after the other raises no alert."""

from pathlib import Path

from tests.support.harness.gateway import ROOT
from tests.support.oracles.programs import program, run

FIRING = """
rule_files: [{rules}]
tests:
  - interval: 1m
    input_series:
      - series: sealgate_certificate_renewals_total{{result="refused", instance="renewed"}}
        values: 0x5 1x20
      - series: sealgate_certificate_renewals_total{{result="taken", instance="renewed"}}
        values: 0x6 1x20
      - series: sealgate_certificate_renewals_total{{result="refused", instance="spoiled"}}
        values: 0x5 1x20
      - series: sealgate_certificate_renewals_total{{result="taken", instance="spoiled"}}
        values: 0x25
    alert_rule_test:
      - eval_time: 10m
        alertname: SealgateCertificateRefused
        exp_alerts:
          - exp_labels: {{severity: warning, result: refused, instance: spoiled}}
            exp_annotations:
              summary: >-
                spoiled found certificate files that it cannot use, and serves what it had; its log
                says why.
"""


def test_files_that_do_not_match_for_a_moment_raise_no_alert(tmp_path: Path) -> None:
    rules = tmp_path / "tests.yml"
    rules.write_text(FIRING.format(rules=ROOT / "deploy" / "prometheus" / "alerts.yml"))
    checked = run([program("promtool"), "test", "rules", rules])
    assert checked.returncode == 0, checked.stdout + checked.stderr
