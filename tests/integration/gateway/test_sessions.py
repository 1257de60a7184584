"""Query attacks through a real gateway, and what the policy lets follow: sessions at work."""

import json
import time
from contextlib import suppress

import numpy as np
import pytest
from safetensors.numpy import load_file

from publishing.calibration.query_attacks import hop_skip_jump, square
from sealgate.client.connection import connect, options_of
from sealgate.reasons import Reason
from sealgate.remote.errors import GatewayRefusal
from tests.support.harness.gateway import DATA, rows, running
from tests.support.harness.policy_changes import change

SESSIONS = {"search": "block", "extraction": "alert", "seconds": 3600}
LABELS = {"client": {"labels_only": True, "adversarial": "flag", "suspect": "flag"}}


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("house") / "state", "digits-1") as harness:
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


def attacked(ask, attack, most=400):
    """How many rows an attack asks for until it is refused, or ends; None where it ends."""
    row = next(attack)
    for number in range(most):
        try:
            label = int(ask(row)["label"][0])
        except GatewayRefusal as refusal:
            if refusal.reason is not Reason.SESSION_BLOCKED:
                raise
            return number
        try:
            row = attack.send(label)
        except StopIteration:
            return None
    raise AssertionError(f"it goes on after {most}")


@pytest.mark.parametrize("name", ["square", "hop-skip-jump"])
def test_a_query_attack_that_sees_labels_is_ended(harness, ask, name):
    screens(harness, roles=LABELS, sessions=SESSIONS)
    draw = np.random.default_rng(1)
    ended = []
    for row in rows(count=6):
        harness.gateway.sessions.watched.clear()
        label = int(ask(row)["label"][0])
        # A step too small to succeed by chance: what is tested is the end.
        attack = (
            square(row, label, 0.05, 5000, 0.05, draw)
            if name == "square"
            else hop_skip_jump(row, label, 0.01, 5000, draw)
        )
        ended.append(attacked(ask, attack))
    assert None not in ended
    assert np.median(ended) <= 40
    assert harness.gateway.sessions.found["digits", "search"] >= len(ended)


def test_an_honest_session_goes_on(harness, ask):
    screens(harness, roles=LABELS, sessions=SESSIONS)
    data = load_file(DATA / "digits.safetensors")["x_test"].astype(np.float32)
    for row in data[:80]:
        ask(row)


def test_only_the_consequence_differs(harness, ask):
    """Label-only, slow and alert let the caller go on; slow makes them wait."""
    noise = np.random.default_rng(2).normal(0, 0.01, (6, 64))
    near = np.clip(rows(count=6)[:1] + noise, 0, 1).astype(np.float32)
    plain = {"verdicts": {"adversarial": "flag", "suspect": "flag"}}
    for action, extra in (("label-only", {}), ("alert", {}), ("slow", {"slow_ms": 300})):
        harness.gateway.sessions.watched.clear()
        followed = harness.gateway.inference.observation.session_actions["digits", action]
        found = SESSIONS | {"search": action} | extra
        screens(harness, **plain, sessions=found)
        assert "logits" in ask(near[0]).outputs
        for row in near[1:5]:
            ask(row)
        began = time.monotonic()
        answer = ask(near[5])
        assert ("label" in answer.outputs) is (action == "label-only")
        assert harness.gateway.inference.observation.session_actions["digits", action] > followed
        if action == "slow":
            assert time.monotonic() - began >= 0.3


def why_reduced(harness, answer, tmp_path):
    """What `audit decision` says of an answer of which classes alone left."""
    (tmp_path / "receipt.json").write_bytes(answer.receipt.data)
    words = ("audit", "decision", str(tmp_path / "receipt.json"), "--json")
    result = harness.command(*words, person="auditor")
    # All holds; whether an anchor covers the answer already, the clock decides.
    assert result.exit_code in (0, 3), result.output
    told = [step["what"] for step in json.loads(result.stdout) if step["step"] == "screening"]
    return [what for what in told if "likeliest classes" in what]


def test_an_auditor_is_told_why_classes_alone_left(harness, ask, tmp_path):
    prefix = "the likeliest classes alone left, for "
    noise = np.random.default_rng(2).normal(0, 0.01, (6, 64))
    near = np.clip(rows() + noise, 0, 1).astype(np.float32)
    plain = {"verdicts": {"adversarial": "flag", "suspect": "flag"}}
    screens(harness, **plain, sessions=SESSIONS | {"search": "label-only"})
    assert why_reduced(harness, ask(near[0]), tmp_path) == []
    size = harness.gateway.recorder.size
    for row in near[1:]:
        answer = ask(row)
    assert set(answer.outputs) == {"label"}
    said = "what the session of client looked like"
    assert why_reduced(harness, answer, tmp_path) == [prefix + said]
    opened = [harness.gateway.recorder.open(size + at).opened for at in range(10)]
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
