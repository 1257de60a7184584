"""The periodic checks: each finding is reported once, with its facts."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from gateway.sessions.query_attack_detection import FlaggedSessions
from registry.log.reader import LogReader
from sealgate.events.checks import EventChecks
from sealgate.events.config import EventCheckSettings
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import PrivateKey
from sealgate.trust.transparency import note
from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.gateway import running


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    with running(tmp_path_factory.mktemp("events") / "state") as harness:
        yield harness


@pytest.fixture
def look(harness, store):
    """Looks once, some days from now; returns the events."""

    def go(days=0, from_beginning=False):
        kept = []

        def keep(events, remembered):
            kept.extend(events)
            store.add([], remembered)

        checks = EventChecks(
            harness.state / "people" / "events" / "profile.toml",
            store,
            keep,
            EventCheckSettings(),
            from_beginning=from_beginning,
            clock=lambda: datetime.now(UTC) + timedelta(days=days),
        )
        checks.look()
        assert checks.failing == {}
        return kept

    return go


def create(harness, name):
    harness.registry("publisher").CreateModel(messages.CreateModelRequest(model=name), timeout=60)


def test_where_all_is_well_nothing_is_told(look, harness):
    assert look() == []
    create(harness, "grown")
    assert look() == []


def test_what_expires_is_told_once_for_each_number_of_days(look, harness):
    policy = harness.gateway.engine.policy_in_force()
    left = (datetime.fromisoformat(policy.expires) - datetime.now(UTC)).days
    told = [event for event in look(left - 20) if event.kind == "policy.expiring"]
    (event,) = told
    assert event.data["expires"] == policy.expires
    assert event.data["detail"] in ("20 days left", "21 days left")
    assert [e for e in look(left - 19) if e.kind == "policy.expiring"] == []
    (again,) = [e for e in look(left - 5) if e.kind == "policy.expiring"]
    assert again.id != event.id
    (over,) = [e for e in look(left + 3) if e.kind == "policy.expiring"]
    assert over.data["detail"] == "it has expired"


def test_certificates_of_both_ends_are_told_of(look, harness):
    subjects = {e.subject for e in look(3650) if e.kind == "certificate.expiring"}
    endpoint = harness.profile("events").endpoint
    assert subjects == {f"certificates/{endpoint}", "certificates/people/events"}


ORIGIN = "house.localhost/registry"


def saw_another(harness, store, size_of):
    """Makes it remember another checkpoint of the registry's log, of such a size."""
    name = f"checkpoint of {ORIGIN}"
    size = size_of(harness.gateway.store.registry.log.size())
    root = base64.b64encode(b"\1" * 32).decode()
    text = f"{ORIGIN}\n{size}\n{root}\n"
    store.add([], [(name, note.sign_note(text, ORIGIN, PrivateKey.generate()))])


@pytest.mark.parametrize(
    ("size_of", "reason"),
    [
        (lambda size: size, "it was changed"),
        (lambda size: size - 1, "it was changed"),
        (lambda size: size + 5, "it is shorter"),
    ],
    ids=["another root", "an older root", "shorter than it was"],
)
def test_a_log_that_did_not_only_grow_is_told_once(look, harness, store, size_of, reason):
    create(harness, f"m-{size_of(7)}")
    look()
    saw_another(harness, store, size_of)
    (event,) = look()
    assert (event.kind, event.subject) == ("log.inconsistent", f"logs/{ORIGIN}")
    assert event.data["detail"].startswith("LOG_INCONSISTENT")
    assert reason in event.data["detail"]
    assert look() == []


def test_a_log_of_which_the_gateway_has_no_proof_is_told_once(look, harness, monkeypatch):
    create(harness, "before-it")
    look()

    def altered(*_):
        raise SealgateError(Reason.LOG_INCONSISTENT, "tile 0/0 holds other hashes")

    with monkeypatch.context() as database:
        database.setattr(LogReader, "consistency", altered)
        create(harness, "behind-it")
        subject = f"logs/{ORIGIN}"
        assert [e.kind for e in look() if e.subject == subject] == ["log.inconsistent"]
        create(harness, "behind-that")
        assert [e.kind for e in look() if e.subject == subject] == []
    # The log must extend the newest checkpoint that was seen.
    assert look() == []


def test_a_witness_that_disagrees_is_told_when_that_begins(look, harness):
    harness.gateway.store.witnessed.keep_conflict(ORIGIN, "w.example: at 9, and ours has 4")
    try:
        (event,) = look()
        assert (event.kind, event.subject) == ("witness.disagrees", f"logs/{ORIGIN}")
        assert event.data["detail"] == "w.example: at 9, and ours has 4"
        harness.gateway.store.witnessed.keep_conflict(ORIGIN, "w.example: at 9, and ours has 5")
        assert look() == []
        harness.gateway.store.witnessed.keep_conflict(ORIGIN, "")
        assert look() == []
        # An advisory one, which stops nothing.
        harness.gateway.store.witnessed.advise(ORIGIN, "w.example", "at 9, and ours has 6")
        (again,) = look()
        assert again.data["detail"] == "at 9, and ours has 6"
        assert again.id != event.id
    finally:
        harness.gateway.store.witnessed.keep_conflict(ORIGIN, "")
        harness.gateway.store.witnessed.advise(ORIGIN, "w.example", "")


def test_flagged_sessions_are_told_from_the_first_look_on(look, harness):
    flagged = harness.gateway.inference.observation.flagged
    flagged.add("before", "digits", "alert", 3600)
    assert look() == []
    flagged.add("mallory", "digits", "block", 3600)
    flagged.add("eve", "spam", "slow", 3600)
    first, second = look()
    assert (first.kind, first.subject, first.model) == (
        "session.flagged",
        "models/digits",
        "digits",
    )
    assert (first.data["principal"], first.data["action"]) == ("mallory", "block")
    assert second.data["principal"] == "eve"
    assert look() == []


def test_gateways_behind_one_address_are_each_told_of_once(look, monkeypatch):
    after, gateways, turn = FlaggedSessions.after, [FlaggedSessions(), FlaggedSessions()], [0]
    monkeypatch.setattr(FlaggedSessions, "after", lambda _, id_: after(gateways[turn[0]], id_))
    assert look() == []
    for number in range(4):
        turn[0] = number % 2
        gateways[turn[0]].add(f"caller-{number}", "digits", "alert", 3600)
        assert [event.data["principal"] for event in look()] == [f"caller-{number}"]


def test_from_the_beginning_those_before_are_told_too(look, harness):
    told = [event.data["principal"] for event in look(from_beginning=True)]
    assert told[0] == "before"


def test_a_gateway_that_does_not_answer_is_told_by_metrics_not_by_events(harness, store):
    kept = []
    checks = EventChecks(
        harness.state / "people" / "events" / "profile.toml",
        store,
        lambda events, _: kept.extend(events),
        EventCheckSettings(gateways=("127.0.0.1:1",)),
        from_beginning=False,
    )
    checks.look()
    assert list(checks.failing) == ["127.0.0.1:1"]
    assert kept == []


def test_a_profile_that_can_be_read_again_fails_no_more(harness, store):
    profile = harness.state / "people" / "events" / "profile.toml"
    checks = EventChecks(
        profile, store, lambda *_: None, EventCheckSettings(), from_beginning=False
    )
    aside = profile.rename(profile.with_suffix(".aside"))
    try:
        checks.look()
    finally:
        aside.rename(profile)
    assert list(checks.failing) == ["profile"]
    checks.look()
    assert checks.failing == {}
