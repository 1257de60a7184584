"""A certificate and its key are put in place one after the other. Who connected in between had the
gateway find files that are no pair, and the alert was on for a quarter of an hour after a renewal
that went well.
"""

from pathlib import Path

from tests.support.house import ROOT
from tests.support.oracles import program, run

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


def test_files_that_are_no_pair_for_a_moment_raise_none(tmp_path: Path) -> None:
    rules = tmp_path / "tests.yml"
    rules.write_text(FIRING.format(rules=ROOT / "deploy" / "prometheus" / "alerts.yml"))
    checked = run([program("promtool"), "test", "rules", rules])
    assert checked.returncode == 0, checked.stdout + checked.stderr
