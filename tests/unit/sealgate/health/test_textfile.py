"""Exit status and textfile of a check: held against Prometheus' own linter and parser."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from sealgate.cli.main import main
from sealgate.health import commands as command
from sealgate.health.findings import (
    FAMILIES,
    CheckState,
    HealthFinding,
    exit_status,
    refused_finding,
    textfile_text,
    write_textfile,
)
from sealgate.reasons import Reason, SealgateError
from tests.support.oracles.programs import program, run

LABELS = {"model": "digits", "alias": "production", "version": "2"}
NUMBERS = {
    "same": 7,
    "different": 1,
    "withheld": 0,
    "largest_difference": 0.25,
    "slowest_seconds": 0.5,
}
END = {"end_timestamp_seconds": 1.8e9}
WRONG = HealthFinding("golden", "digits/production", CheckState.WRONG, "", LABELS, NUMBERS)
WELL = HealthFinding("certificate", "gateway", CheckState.WELL, "", {"certificate": "gateway"}, END)
UNASKED = HealthFinding("serving", "gateway", CheckState.UNASKED, "")
FRESH = HealthFinding(
    "freshness", "digits 2", CheckState.WELL, "", {"model": "digits", "version": "2"}, END
)
POLICY = HealthFinding("policy", "policy", CheckState.WELL, "", {"policy": "policy"}, END)


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([WELL], 0),
        ([WELL, UNASKED], 2),
        ([], 2),
        ([WRONG, UNASKED], 1),
        ([WELL, WRONG], 1),
    ],
)
def test_the_exit_status_says_the_worst(findings: list[HealthFinding], status: int) -> None:
    assert exit_status(findings) == status


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.CALL_FAILED, CheckState.UNASKED),
        (Reason.TOKEN_EXPIRED, CheckState.UNASKED),
        (Reason.ROLE_TOO_LOW, CheckState.UNASKED),
        (Reason.RUN_HUNG, CheckState.WRONG),
        (Reason.VERSION_NOT_LIVE, CheckState.WRONG),
        (Reason.LOG_INCONSISTENT, CheckState.WRONG),
        (Reason.SIGNATURE_INVALID, CheckState.WRONG),
    ],
)
def test_what_keeps_one_from_asking_says_nothing_of_what_was_asked(
    reason: Reason, state: CheckState
) -> None:
    assert refused_finding("golden", "digits/production", SealgateError(reason)).state is state


def test_prometheus_takes_every_metric(tmp_path: Path) -> None:
    path = tmp_path / "sealgate.prom"
    write_textfile(path, [WRONG, WELL, UNASKED, FRESH, POLICY], 1.7e9)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    told = path.read_text()
    checked = run([program("promtool"), "check", "metrics"], told)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    found = {f.name: f.samples for f in text_string_to_metric_families(told)}
    assert found.keys() == {f"sealgate_health_{family.name}" for family in FAMILIES}
    assert found["sealgate_health_status"][0].value == 1
    (different,) = found["sealgate_health_different_answers"]
    assert (different.labels, different.value) == (LABELS, 1)
    well = {
        (s.labels["check"], s.labels["subject"]): s.value for s in found["sealgate_health_well"]
    }
    assert well["golden", "digits/production"] == 0
    assert well["certificate", "gateway"] == 1
    assert ("serving", "gateway") not in well


def test_nothing_that_is_not_known_is_told() -> None:
    told = textfile_text([UNASKED], 1.7e9)
    assert "sealgate_health_status 2" in told
    assert "different" not in told
    assert "well" not in told


def test_a_file_that_stands_is_kept_where_another_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "sealgate.prom"
    with pytest.raises(OSError, match="gone"):
        write_textfile(path, [WELL], 1.7e9)


def test_labels_are_escaped() -> None:
    odd = HealthFinding("golden", 'a"b\\c\nd', CheckState.WELL, "")
    told = textfile_text([odd], 1.7e9)
    (family,) = [f for f in text_string_to_metric_families(told) if f.name.endswith("well")]
    assert family.samples[0].labels["subject"] == 'a"b\\c\nd'


@pytest.mark.parametrize(("state", "status"), [(CheckState.WRONG, 1), (CheckState.WELL, 2)])
def test_findings_are_printed_when_the_textfile_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: CheckState, status: int
) -> None:
    found: Any = [HealthFinding("golden", "m/production", state, "as it came out")]
    monkeypatch.setattr(command, "profile", lambda *_: None)
    monkeypatch.setattr(command, "check", lambda *_: [*found])
    file = tmp_path / "gone" / "sealgate.prom"
    result = CliRunner().invoke(main, ["health", "--json", "--textfile", str(file)])
    told = json.loads(result.output)
    assert result.exit_code == told["status"] == status
    assert [each["detail"] for each in told["findings"]] == [
        "as it came out",
        "cannot be written: No such file or directory",
    ]
