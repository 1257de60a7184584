"""`sealgate screen evaluate`, `recalibrate` and `sealgate attack`, on a registered version."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.screening.detector import Detector
from inference.screening.traffic import TrafficFolder
from sealgate.signed_version import SignedVersion
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import EvidenceRules
from sealgate.trust.statements import Evidence, open_statement
from tests.support.harness.gateway import DATA, MODELS, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("house") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Held-out rows in a file."""
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(path, load_file(DATA / "digits.safetensors")["x_test"].astype(np.float32))
    return path


def detector(harness, version):
    registry = harness.registry("auditor")
    policies = [harness.governance("auditor").policy()]
    signed = SignedVersion.fetch(registry, policies, "digits", version)
    return Detector.decode(signed.file(registry, "detector.json")), signed.manifest.digest


def test_clean_rows_keep_the_bound_and_others_do_not(harness, clean, tmp_path):
    result = harness.command("screen", "evaluate", "digits", "1", str(clean), "--json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    flagged = next(row for row in shown if (row["rows"], row["found"]) == ("clean", "flagged"))
    assert (flagged["bound"], flagged["holds"]) == (0.01, "yes")
    changed = {row["rows"]: row["holds"] for row in shown if row["rows"] != "clean"}
    assert {"noise-0.1", "darker"} <= set(changed)
    assert set(changed.values()) == {""}
    other = tmp_path / "other.npy"
    np.save(other, np.random.default_rng(1).random((200, 64), np.float32))
    result = harness.command("screen", "evaluate", "digits", "1", str(other), "--json")
    assert result.exit_code == 1
    assert "no" in {row["holds"] for row in json.loads(result.stdout)}


def test_rows_of_another_shape_or_domain_are_refused(harness, tmp_path):
    for name, rows in (
        ("TENSOR_SHAPE", np.zeros((3, 63))),
        ("TENSOR_RANGE", np.full((3, 64), 2.0)),
        ("TENSOR_RANGE", np.full((3, 64), np.nan)),
    ):
        np.save(tmp_path / "rows.npy", rows.astype(np.float32))
        words = ("screen", "evaluate", "digits", "1", str(tmp_path / "rows.npy"))
        assert name in harness.command(*words).output


def test_a_red_teams_report_is_evidence_of_the_version(harness, clean, tmp_path):
    output = tmp_path / "red-team.json"
    size = ["--victims", "3", "--queries", "200", "--output", str(output), "--json"]
    words = ("attack", "digits", "1", "--data", str(clean), *size)
    result = harness.command(*words, person="approver-1")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["attacks"]["pgd-0.2"]["succeeded"] > 0.3
    assert set(report["queries"]) == {"square", "hop-skip-jump"}
    assert report["queries"]["square"]["attacks"] == 3
    policy = harness.governance("auditor").policy()
    envelope = Envelope.decode(output.read_bytes())
    item = open_statement(envelope, Evidence, policy, ("approver",))
    assert (item.kind, item.maker, item.body) == (EvidenceRules.RED_TEAM, "approver-1", report)
    assert item.version_digest == detector(harness, 1)[1]
    # A signed report is never overwritten.
    assert harness.command(*words, person="approver-1").exit_code != 0


def test_an_attached_report_is_shown_to_who_decides_and_to_auditors(harness, clean, tmp_path):
    output = tmp_path / "red-team.json"
    words = ["attack", "digits", "1", "--data", str(clean), "--victims", "1", "--queries", "20"]
    words += ["--output", str(output), "--attach", "--json"]
    proposal = harness.propose("digits", 1, "canary").digest
    result = harness.command(*words, person="approver-1")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    shown = json.loads(harness.command("model", "show", "digits", "1", "--json").output)
    (item,) = [e for e in shown["evidence"] if e["kind"] == EvidenceRules.RED_TEAM]
    assert (item["maker"], item["body"]) == ("approver-1", report)
    assert "red-team, by approver-1" in harness.command("model", "show", "digits", "1").output
    # The proposal came before it, does not name it, and stands.
    meaning = ("--meaning", "the red team found little")
    result = harness.command("model", "approve", proposal, *meaning, person="approver-2")
    assert result.exit_code == 0, result.output
    assert "red-team, by approver-1, attached" in result.stderr
    pack = tmp_path / "pack"
    assert harness.command("audit", "export", str(pack), "--without-files").exit_code == 0
    attached = pack / "models" / "digits" / "versions" / "1" / "attached"
    (signed,) = attached.glob("*.dsse.json")
    assert signed.read_bytes() == output.read_bytes()
    assert json.loads(signed.with_name(signed.name.replace(".dsse", "")).read_text()) == report
    # Once more is the same; another hands in what is not theirs; others may hand in nothing.
    words = ("model", "attach", "digits", "1", str(output))
    for person, said in (
        ("approver-1", '"items": 1'),
        ("approver-2", "SIGNER_MISMATCH"),
        ("auditor", "ROLE_TOO_LOW"),
    ):
        assert said in harness.command(*words, "--json", person=person).output


def test_it_shows_what_screening_was_calibrated_on(harness):
    shown = json.loads(harness.command("model", "show", "digits", "1", "--json").output)
    calibration = detector(harness, 1)[0].calibration
    assert shown["calibrated_on"] == calibration.rows
    assert shown["confidence"] == calibration.confidence
    assert shown["adversarial_bound"] == calibration.adversarial.bound
    assert shown["suspect_bound"] == calibration.suspect.bound
    for verdict in ("adversarial", "suspect"):
        assert 0 < shown[f"{verdict}_average"] <= shown[f"{verdict}_bound"]


def test_a_recalibration_is_a_new_version_that_nobody_has_approved(harness, tmp_path):
    before, digest = detector(harness, 1)
    draw = np.random.default_rng(2)
    center = np.array(before.scaling.center)
    measured = center + draw.normal(0, 1, (500, len(center))) * np.array(before.scaling.spread)
    # All of it was answered as the float32 model would.
    features = np.concatenate([measured, np.zeros((500, 1))], axis=1)
    folder = TrafficFolder(tmp_path / "features", 30, 1000)
    # More are as far out as they can count than either threshold lets pass; a hundred come again.
    far = 4 * np.array(before.scaling.spread) * np.sign(draw.normal(size=(60, len(center))))
    features[:60, : len(center)] = center + far
    sent = np.concatenate([features, features[:100]]).astype(np.float32)
    folder.add(digest, sent, datetime.now(UTC).date())
    data = str(DATA / "digits.safetensors")
    words = ["screen", "recalibrate", str(MODELS / "digits-standard"), "--data", data]
    words += ["--features", str(tmp_path / "features"), "--model", "digits"]
    result = harness.command(*words, "--from-version", "1", "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    after, _ = detector(harness, made["version"])
    assert after.calibration.rows == 500
    assert after.calibration.shifts == ()
    assert harness.gateway.engine.live()["digits", "production"].version == 1
    shown = harness.command("model", "show", "digits", str(made["version"]), "--json")
    bodies = {e["kind"]: e["body"] for e in json.loads(shown.output)["evidence"]}
    report = bodies["screening-report"]
    assert report["calibrated_on_traffic"] == 500
    told, scores = report["recalibration"], before.scores(features.astype(np.float32))
    assert (told["vectors"], told["distinct"]) == (600, 500)
    assert told["flagged_before"] == (scores > before.threshold).sum()
    assert told["hostile_that_decide"]["adversarial"] == after.calibration.adversarial.rank
    assert told["flagged_could_decide"] is True
    # The far vectors set the thresholds, so the new detector catches less.
    assert after.calibration.suspect.rank < 60
    fgsm = told["attacks"]["fgsm-0.2"]
    assert fgsm["flagged"] < fgsm["flagged_before"]
    assert fgsm["at_least_suspect"] < fgsm["at_least_suspect_before"]
    assert made["traffic"] == "600 vectors, 500 distinct"
    provenance = bodies["build-provenance"]["predicate"]["buildDefinition"]
    listed = {item["name"]: item for item in provenance["resolvedDependencies"]}
    assert listed["earlier detector.json"]["digest"]["sha256"] == sha256(before.encode())[7:]
    shown = harness.command("model", "show", "digits", str(made["version"]))
    assert "flagged_before" in shown.output


def test_too_little_traffic_calibrates_nothing(harness, tmp_path):
    (tmp_path / "features").mkdir()
    data = str(DATA / "digits.safetensors")
    words = ["screen", "recalibrate", str(MODELS / "digits-standard"), "--data", data]
    words += ["--features", str(tmp_path / "features"), "--model", "digits"]
    result = harness.command(*words, "--from-version", "1")
    assert "CALIBRATION_TOO_SMALL" in result.output
