"""Query attacks through a real gateway, and what the policy lets follow: sessions at work."""

import json
import time
from contextlib import suppress

import numpy as np
import pytest
from safetensors.numpy import load_file

from publishing.attacks.query_attacks import hop_skip_jump, square
from sealgate.client.client import connect, options_of
from sealgate.reasons import Reason
from sealgate.remote.errors import GatewayRefusal
from sealgate.v1.audit_pb2 import ListFlaggedSessionsRequest
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from tests.support.harness.gateway import DATA, rows, running
from tests.support.harness.policy_changes import change

SESSIONS = {"search": "block", "extraction": "alert", "seconds": 3600}
LABELS = {"client": {"labels_only": True, "adversarial": "flag", "suspect": "flag"}}


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("house") / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        yield harness


@pytest.fixture
def ask(harness):
    """Asks for the class of one row, as the client."""
    profile = harness.profile("client")
    # Each test is another session.
    harness.gateway.sessions.watched.clear()
    with connect(profile.endpoint, **options_of(profile)) as client:
        yield lambda row: client.infer("digits", {"x": row[None]})


def screens(harness, **digits):
    change(harness, lambda policy: policy.update(screens={"digits": digits}))


@pytest.fixture
def turned(harness):
    """A row [1, 64], and one a fifth away at most that is of another class."""
    live = harness.gateway.engine.live()["digits", "production"]
    some = load_file(DATA / "digits.safetensors")["x_test"][:60].astype(np.float32)
    for row in some:
        # As far as may be on the way to each of the others.
        moved = np.clip(some, row - 0.19, row + 0.19).astype(np.float32)
        given = np.concatenate([row[None], moved])
        first, *others = harness.gateway.engine.infer(live, given).outputs["logits"].argmax(axis=1)
        for at, other in enumerate(others):
            if other != first:
                return row[None], moved[at : at + 1]
    raise AssertionError("no row is turned by so much")


@pytest.mark.parametrize("name", ["square", "hop-skip-jump"])
def test_a_query_attack_is_told_one_class_about_each_neighbourhood(harness, ask, name):
    screens(harness, roles=LABELS, sessions=SESSIONS)
    draw = np.random.default_rng(1)
    for row in rows(count=3):
        harness.gateway.sessions.watched.clear()
        label = int(ask(row)["label"][0])
        attack = (
            square(row, label, 0.19, 5000, 0.05, draw)
            if name == "square"
            else hop_skip_jump(row, label, 0.01, 5000, draw)
        )
        asked = next(attack)
        for _ in range(60):
            found = int(ask(asked)["label"][0])
            assert found == label or np.abs(asked - row).max() > 0.2
            asked = attack.send(found)


def test_a_near_duplicate_is_answered_with_its_anchors_class_and_the_receipt_says_so(
    harness, ask, turned, tmp_path
):
    screens(harness, roles=LABELS, sessions=SESSIONS)
    row, moved = turned
    receipt, own = tmp_path / "receipt.json", tmp_path / "rows.npy"
    first, second = ask(row[0]), ask(moved[0])
    assert second["label"][0] == first["label"][0]
    assert harness.gateway.sessions.found["digits", "turned"] >= 1
    receipt.write_bytes(second.receipt.data)
    np.save(own, moved)
    told = harness.command("audit", "decision", str(receipt), person="auditor").output
    assert "a near-duplicate of an earlier row of client was answered with that row's class" in told
    words = ("audit", "replay", str(receipt), "--input", str(own))
    assert "of a row that was nearly repeated" in harness.command(*words, person="auditor").output
    harness.gateway.sessions.watched.clear()
    assert ask(moved[0])["label"][0] != first["label"][0]


def test_frames_are_told_their_class_and_nobody_is_refused(harness, ask):
    screens(harness, sessions=SESSIONS)
    noise = np.random.default_rng(2).normal(0, 0.01, (20, 64))
    first, *others = np.clip(rows()[:1] + noise, 0, 1).astype(np.float32)
    assert set(ask(first).outputs) == {"logits"}
    for row in others:
        assert set(ask(row).outputs) == {"label"}


def test_an_honest_session_goes_on(harness, ask):
    screens(harness, roles=LABELS, sessions=SESSIONS)
    data = load_file(DATA / "digits.safetensors")["x_test"].astype(np.float32)
    for row in data[:80]:
        ask(row)


def test_only_the_consequence_differs(harness, ask, turned):
    """Label-only, slow and alert let the caller go on; slow makes them wait."""
    row, moved = turned
    plain = {"verdicts": {"adversarial": "flag", "suspect": "flag"}}
    for action, extra in (("label-only", {}), ("alert", {}), ("slow", {"slow_ms": 300})):
        harness.gateway.sessions.watched.clear()
        followed = harness.gateway.inference.observation.session_actions["digits", action]
        found = SESSIONS | {"search": action} | extra
        screens(harness, **plain, sessions=found)
        assert "logits" in ask(row[0]).outputs
        began = time.monotonic()
        answer = ask(moved[0])
        assert ("label" in answer.outputs) is (action == "label-only")
        assert harness.gateway.inference.observation.session_actions["digits", action] > followed
        if action == "slow":
            assert time.monotonic() - began >= 0.3
    audit = AuditServiceStub(harness.channel("events"))
    flagged = audit.ListFlaggedSessions(ListFlaggedSessionsRequest()).sessions[-3:]
    told = [(each.principal, each.model, each.action) for each in flagged]
    assert told == [("client", "digits", each) for each in ("label-only", "alert", "slow")]
    (last,) = audit.ListFlaggedSessions(ListFlaggedSessionsRequest(after=flagged[1].id)).sessions
    assert last == flagged[2]


def why_reduced(harness, answer, tmp_path):
    """The text of `audit decision` on an answer of which classes alone left."""
    (tmp_path / "receipt.json").write_bytes(answer.receipt.data)
    words = ("audit", "decision", str(tmp_path / "receipt.json"), "--json")
    result = harness.command(*words, person="auditor")
    # All holds; whether an anchor covers the answer already, the clock decides.
    assert result.exit_code in (0, 3), result.output
    told = [step["what"] for step in json.loads(result.stdout) if step["step"] == "screening"]
    return [what for what in told if "likeliest classes" in what]


def _size(harness):
    return harness.gateway.recorder.size


def test_an_auditor_is_told_why_classes_alone_left(harness, ask, turned, tmp_path):
    prefix = "the likeliest classes alone left, for "
    near = np.concatenate([*turned, rows()])
    plain = {"verdicts": {"adversarial": "flag", "suspect": "flag"}}
    screens(harness, **plain, sessions=SESSIONS | {"search": "label-only"})
    assert why_reduced(harness, ask(near[0]), tmp_path) == []
    size = _size(harness)
    for row in near[1:]:
        answer = ask(row)
    assert set(answer.outputs) == {"label"}
    said = "what the session of client looked like"
    assert why_reduced(harness, answer, tmp_path) == [prefix + said]
    opened = [harness.gateway.recorder.open(at).opened for at in range(size, _size(harness))]
    entries = [{name: value for name, (_, value) in each.items()} for each in opened]
    reduced = [at for at, entry in enumerate(entries) if entry["outcome"] == "reduced"]
    assert reduced
    for at in reduced:
        before, after = entries[at : at + 2]
        assert (before["output"], before["verdict"], before["engine"]) == ("session", "", "")
        assert (after["outcome"], after["input"]) == ("answered", before["input"])
        # That it is for the caller's session, the answer's own entry does not tell them.
        assert (before["actions"], after["actions"]) == ("", "label-only")
    screens(harness, roles={"client": {"labels_only": True}})
    assert why_reduced(harness, ask(rows()[0]), tmp_path) == [prefix + "a role of client"]
    live = harness.gateway.engine.live()["digits", "production"]
    both = {"suspect": "label-only", "adversarial": "label-only"}
    screens(harness, verdicts=both)
    (why,) = why_reduced(harness, ask(_suspect(harness, live)), tmp_path)
    assert why.startswith(prefix + "the verdict ")


def test_a_role_may_get_labels_alone_whatever_the_verdict(harness, ask):
    screens(harness, roles={"client": {"labels_only": True}})
    assert set(ask(rows()[0]).outputs) == {"label"}
    screens(harness, roles={"auditor": {"labels_only": True}})
    assert set(ask(rows()[0]).outputs) == {"logits"}


def test_a_role_may_be_treated_more_strictly(harness, ask):
    """Nothing is clean enough for a version whose every verdict is suspect or worse."""
    live = harness.gateway.engine.live()["digits", "production"]
    row = _suspect(harness, live)
    screens(harness, roles={"client": {"suspect": "block", "adversarial": "block"}})
    with pytest.raises(GatewayRefusal) as caught:
        ask(row)
    assert caught.value.reason is Reason.ADVERSARIAL_INPUT
    screens(harness, roles={"client": {"suspect": "record", "adversarial": "record"}})
    ask(row)


def _suspect(harness, live):
    draw = np.random.default_rng(3)
    for row in draw.random((2000, 64), np.float32):
        if harness.gateway.engine.infer(live, row[None]).verdict != "clean":
            return row
    raise AssertionError("no noise is suspect")


def test_answers_and_refusals_are_held_to_one_time(harness, ask):
    screens(harness, verdicts={"adversarial": "block", "suspect": "block"}, hold_ms=250)
    live = harness.gateway.engine.live()["digits", "production"]
    for row in (rows()[0], _suspect(harness, live)):
        began = time.monotonic()
        with suppress(GatewayRefusal):
            ask(row)
        assert time.monotonic() - began >= 0.25
