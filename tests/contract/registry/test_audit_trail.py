"""The registry's audit trail proves which version was live, and which versions a key signed."""

from datetime import datetime

import pytest

from registry.state.records import VersionRecord
from sealgate.audit import radius_of_key, radius_of_version
from sealgate.audit.entries import LivePointer, ProvedEntry, live_pointers
from sealgate.reasons import Reason
from sealgate.trust.times import format_time
from tests.support.builders.documents.excerpts import MINUTE, opened, without
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, p256_key, refused
from tests.support.harness.registry import RegistryHarness


def live(harness: RegistryHarness, moment: datetime, model: str = "") -> tuple[LivePointer, ...]:
    text = format_time(moment)
    shown = harness.registry.audit_trail.live_at(text, model)
    return live_pointers(opened(harness, shown), text, model)


def records(harness: RegistryHarness) -> list[ProvedEntry]:
    log = harness.registry.log
    blocks = harness.registry.audit_trail.records(0, log.size())
    return [ProvedEntry.read(e.index, e.leaf, e.documents) for block in blocks for e in block]


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("minutes", "version", "sequence", "action"),
    [(0, 1, 1, "promote"), (0.9, 1, 1, "promote"), (1, 2, 2, "promote"), (9, 1, 3, "rollback")],
)
def test_what_was_live(
    harness: RegistryHarness, minutes: float, version: int, sequence: int, action: str
) -> None:
    (shown,) = live(harness, NOW + minutes * MINUTE)
    found = (shown.version, shown.sequence, shown.action, shown.revoked)
    assert found == (version, sequence, action, "")


@pytest.mark.usefixtures("history")
def test_nothing_was_live_before(harness: RegistryHarness) -> None:
    assert live(harness, NOW - MINUTE) == ()
    assert live(harness, NOW, "cats") == ()


def test_a_revoked_version_is_said_to_be(harness: RegistryHarness) -> None:
    version = harness.publish()
    harness.release(version)
    harness.now += MINUTE
    harness.revoke(version)
    assert live(harness, NOW)[0].revoked == ""
    assert live(harness, harness.now)[0].revoked == format_time(harness.now)


def test_a_move_whose_clock_was_behind(harness: RegistryHarness) -> None:
    """The log's order counts where times contradict it."""
    harness.release(harness.publish("one"))
    harness.now -= MINUTE
    harness.release(harness.publish("two"), predecessor=1)
    harness.now += 2 * MINUTE
    assert live(harness, NOW)[0].sequence == 2


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("sequence", [1, 2])
def test_a_move_that_is_withheld(harness: RegistryHarness, sequence: int) -> None:
    text = format_time(NOW)
    shown = harness.registry.audit_trail.live_at(text)
    shown = without(shown, lambda entry: entry.body.get("sequence") == sequence)
    with refused(Reason.LOG_INCONSISTENT):
        live_pointers(opened(harness, shown), text)


def test_a_revocation_that_is_withheld(harness: RegistryHarness) -> None:
    version = harness.publish()
    harness.release(version)
    harness.revoke(version)
    text = format_time(NOW)
    shown = harness.registry.audit_trail.live_at(text)
    shown = without(shown, lambda entry: entry.event == "version.revoked")
    with refused(Reason.LOG_INCONSISTENT):
        live_pointers(opened(harness, shown), text)


@pytest.mark.usefixtures("history")
def test_how_far_keys_reach(harness: RegistryHarness) -> None:
    harness.registry.refusals.count("gateway", ANSWER_LOG, {"TOKEN_EXPIRED": 3})
    policies = harness.registry.policies.chain().policies

    def kinds(keyid: str) -> list[str]:
        return [t.kind for t in radius_of_key(keyid, records(harness), policies).found]

    assert sorted(kinds(key("anna").public.keyid)) == ["approval"] * 2 + ["pointer"] * 3
    assert kinds(key("root-0").public.keyid) == ["policy"]
    assert kinds(key("carla").public.keyid) == []
    robot = kinds(key("robot").public.keyid)
    assert (robot.count("version"), robot.count("pointer"), robot.count("revocation")) == (2, 3, 1)
    paula = radius_of_key(p256_key("paula").public.keyid, records(harness), policies)
    assert len(paula.digests) == 2
    assert radius_of_key(key("answer-log").public.keyid, records(harness), policies).logs == {
        ANSWER_LOG
    }
    with refused(Reason.KEY_UNKNOWN):
        radius_of_key("0" * 64, records(harness), policies)


def test_how_far_a_version_reaches(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, two = history
    reach = radius_of_version("digits/1", records(harness))
    assert [t.kind for t in reach.found] == ["version", "proposal", "pointer", "pointer"]
    assert reach.searches(ANSWER_LOG) == ((one.digest,),)
    assert radius_of_version(two.digest, records(harness)).found[-1].kind == "revocation"
    values = {"version_digest": one.digest, "model": "digits", "pointer_sequence": "1"}
    assert reach.touches(ANSWER_LOG, values)
    assert not reach.touches(ANSWER_LOG, {**values, "version_digest": two.digest})
    with refused(Reason.VERSION_UNKNOWN):
        radius_of_version("digits/9", records(harness))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(("start", "end"), [(0, 0), (-1, 2), (2, 1), (0, 10_000)])
def test_records_that_the_log_does_not_have(harness: RegistryHarness, start: int, end: int) -> None:
    with refused(Reason.ENTRY_UNKNOWN):
        list(harness.registry.audit_trail.records(start, end))
