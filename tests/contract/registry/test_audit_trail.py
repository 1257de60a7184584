"""What auditors are shown of the registry proves what was live, and what an answer rests on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from registry.audit_trail import Excerpt as Shown
from registry.audit_trail import Proven
from registry.records import VersionRecord
from sealgate.auditing.as_of import Standing, standings
from sealgate.auditing.decision import HOLDS, Examination, Finding
from sealgate.auditing.entries import Entry, Excerpt, prove
from sealgate.auditing.reach import of_key, of_version
from sealgate.auditing.reader import Opened
from sealgate.reasons import Reason
from sealgate.trust.answer import FIELDS, HEADER
from sealgate.trust.checkpoint import open_checkpoint
from sealgate.trust.dsse import Envelope
from sealgate.trust.evidence_rules import RED_TEAM
from sealgate.trust.promotion import sign_statement, verify_freshness
from sealgate.trust.receipt import Receipt
from sealgate.trust.statements import Evidence
from sealgate.trust.times import format_micros, format_time
from tests.support.bureau import Bureau
from tests.support.people import ANSWER_LOG, NOW, at, key, p256_key, refused
from tests.support.receipts import proof_of
from tests.support.receipts import receipt as receipt_of

MINUTE = timedelta(minutes=1)


@pytest.fixture
def history(bureau: Bureau) -> tuple[VersionRecord, VersionRecord]:
    """At NOW version 1; a minute later version 2; another later back; and 2 revoked at the end."""
    one, two = bureau.publish("one"), bureau.publish("two")
    first = bureau.release(one)
    bureau.now += MINUTE
    bureau.release(two, predecessor=1)
    bureau.now += MINUTE
    bureau.roll_back(first, 3)
    bureau.now += MINUTE
    bureau.revoke(two, time=format_time(bureau.now))
    return one, two


def opened(bureau: Bureau, shown: Shown) -> Excerpt:
    """What a client makes of an excerpt: everything is checked."""
    checkpoint = open_checkpoint(shown.note, bureau.policy.registry_log)
    freshness = verify_freshness(Envelope.decode(shown.freshness), bureau.policy, bureau.now)
    for entry in shown.entries:
        prove(entry.leaf, entry.index, entry.hashes, checkpoint)
    entries = tuple(Entry.read(e.index, e.leaf, e.documents) for e in shown.entries)
    return Excerpt(checkpoint, freshness, entries)


def live(bureau: Bureau, moment: datetime, model: str = "") -> tuple[Standing, ...]:
    text = format_time(moment)
    shown = bureau.registry.audit_trail.live_at(text, model)
    return standings(opened(bureau, shown), text, model)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("minutes", "version", "sequence", "action"),
    [(0, 1, 1, "promote"), (0.9, 1, 1, "promote"), (1, 2, 2, "promote"), (9, 1, 3, "rollback")],
)
def test_what_was_live(
    bureau: Bureau, minutes: float, version: int, sequence: int, action: str
) -> None:
    (standing,) = live(bureau, NOW + minutes * MINUTE)
    found = (standing.version, standing.sequence, standing.action, standing.revoked)
    assert found == (version, sequence, action, "")


@pytest.mark.usefixtures("history")
def test_nothing_was_live_before(bureau: Bureau) -> None:
    assert live(bureau, NOW - MINUTE) == ()
    assert live(bureau, NOW, "cats") == ()


def test_a_revoked_version_is_said_to_be(bureau: Bureau) -> None:
    version = bureau.publish()
    bureau.release(version)
    bureau.now += MINUTE
    bureau.revoke(version)
    assert live(bureau, NOW)[0].revoked == ""
    assert live(bureau, bureau.now)[0].revoked == format_time(bureau.now)


def test_a_move_whose_clock_was_behind(bureau: Bureau) -> None:
    """The log's order counts where times contradict it."""
    bureau.release(bureau.publish("one"))
    bureau.now -= MINUTE
    bureau.release(bureau.publish("two"), predecessor=1)
    bureau.now += 2 * MINUTE
    assert live(bureau, NOW)[0].sequence == 2


def without(shown: Shown, drop: Callable[[Entry], bool]) -> Shown:
    kept = [e for e in shown.entries if not drop(Entry.read(e.index, e.leaf, e.documents))]
    return replace(shown, entries=tuple(kept))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("sequence", [1, 2])
def test_a_move_that_is_withheld(bureau: Bureau, sequence: int) -> None:
    text = format_time(NOW)
    shown = bureau.registry.audit_trail.live_at(text)
    shown = without(shown, lambda entry: entry.body.get("sequence") == sequence)
    with refused(Reason.LOG_INCONSISTENT):
        standings(opened(bureau, shown), text)


def test_a_revocation_that_is_withheld(bureau: Bureau) -> None:
    version = bureau.publish()
    bureau.release(version)
    bureau.revoke(version)
    text = format_time(NOW)
    shown = bureau.registry.audit_trail.live_at(text)
    shown = without(shown, lambda entry: entry.event == "version.revoked")
    with refused(Reason.LOG_INCONSISTENT):
        standings(opened(bureau, shown), text)


def findings(
    bureau: Bureau,
    version: VersionRecord,
    sequence: int,
    moment: datetime,
    change: Callable[[Shown], Shown] = lambda shown: shown,
) -> list[Finding]:
    """The examination of an answer by a version under the move `sequence`."""
    chain = bureau.registry.policies.chain()
    values = dict.fromkeys(FIELDS, "")
    values |= {"model": "digits", "version": str(version.version), "outcome": "answered"}
    values |= {"version_digest": version.digest, "pointer_sequence": str(sequence)}
    values |= {"time": format_micros(moment), "policy_digest": chain.policies[0].digest}
    told = tuple(values[field] for field in FIELDS)
    leafless = Receipt.decode(receipt_of(values=told).encode())
    assert leafless.proof == proof_of(_leaf(leafless))
    examination = Examination(leafless, chain.policies, bureau.now)

    class Trail:
        def decision(self, model: str, digest: str, number: int, allowance: str = "") -> Excerpt:
            trail = bureau.registry.audit_trail
            return opened(bureau, change(trail.decision(model, digest, number, allowance)))

        def openings(self, *asked: object) -> list[Opened]:
            raise AssertionError("an answer without a verdict has no other entries")

    return list(examination.findings(Trail()))


def _leaf(receipt: Receipt) -> bytes:
    return HEADER + b"".join(receipt.commitments)


def broken(found: list[Finding]) -> list[tuple[str, str]]:
    return [(f.step, f.found.partition(":")[0]) for f in found if f.found != HOLDS]


def test_an_answer_leads_to_its_bytes(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, two = history
    for version, sequence, minutes in ((one, 1, 0.5), (two, 2, 1.5), (one, 3, 2.5)):
        found = findings(bureau, version, sequence, NOW + minutes * MINUTE)
        assert broken(found) == []
        said = " ".join(f.what for f in found)
        for part in ("anna", "arne", "paula", "otto", "I have read it.", "golden-run by robot"):
            assert part in said


def test_a_report_that_was_attached_is_told_and_held_to_its_version(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    for version, maker in ((one, "anna"), (bureau.publish("three"), "otto")):
        report = Evidence(RED_TEAM, version.digest, maker, at(), {"attacks": {}})
        envelope = sign_statement(report, key(maker)).encode()
        bureau.registry.attachments.attach(maker, "digits", version.version, envelope)
    found = findings(bureau, one, 1, NOW + 0.5 * MINUTE)
    assert broken(found) == []
    (later,) = [f.what for f in found if f.step == "later evidence"]
    assert later.startswith("red-team by anna, attached at ")

    def without_documents(shown: Shown) -> Shown:
        return replace(shown, entries=tuple(_bare(e) for e in shown.entries))

    def _bare(entry: Proven) -> Proven:
        attached = b"evidence.attached" in entry.leaf
        return replace(entry, documents=()) if attached else entry

    found = findings(bureau, one, 1, NOW + 0.5 * MINUTE, without_documents)
    assert broken(found) == [("later evidence", "DIGEST_MISMATCH")]


def test_an_answer_after_its_pointer_was_replaced(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    soon = findings(bureau, one, 1, NOW + 1.5 * MINUTE)
    assert broken(soon) == []
    assert any("superseded 30.0 s before" in f.what for f in soon)
    rules = bureau.policy.rules
    longest = timedelta(seconds=rules.freshness_seconds + rules.grace_seconds)
    late = findings(bureau, one, 1, NOW + MINUTE + longest + MINUTE)
    assert broken(late) == [("freshness", "POINTER_STALE")]


def test_an_answer_by_a_revoked_version(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    _, two = history
    found = findings(bureau, two, 2, NOW + 4 * MINUTE)
    assert broken(found) == [("revocation", "VERSION_REVOKED")]


def test_an_answer_before_its_pointer(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    assert broken(findings(bureau, one, 1, NOW - 6 * MINUTE)) == [("freshness", "POINTER_INVALID")]


def test_a_sequence_that_names_another_version(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    assert broken(findings(bureau, one, 2, NOW + MINUTE)) == [("pointer", "POINTER_INVALID")]


def test_a_key_that_was_withdrawn_since(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    gone = key("anna").public.keyid
    people = tuple(p for p in bureau.policy.principals if p.name != "anna")
    keys = {keyid: public for keyid, public in bureau.policy.keys.items() if keyid != gone}
    bureau.accept(principals=people, keys=keys)
    assert broken(findings(bureau, one, 1, NOW)) == [("pointer", "KEY_WITHDRAWN")]


def drop_documents(shown: Shown) -> Shown:
    return replace(shown, entries=tuple(replace(e, documents=()) for e in shown.entries))


def drop(event: str) -> Callable[[Shown], Shown]:
    return lambda shown: without(shown, lambda entry: entry.event == event)


def forge_manifest(shown: Shown) -> Shown:
    def forged(entry: Proven) -> Proven:
        return replace(entry, documents=tuple(d.replace(b"onnx", b"ONNX") for d in entry.documents))

    return replace(shown, entries=tuple(map(forged, shown.entries)))


@pytest.mark.parametrize(
    ("change", "step", "reason"),
    [
        (drop_documents, "version", "DIGEST_MISMATCH"),
        (forge_manifest, "version", "DIGEST_MISMATCH"),
        (drop("version.registered"), "version", "VERSION_UNKNOWN"),
        (drop("pointer.moved"), "pointer", "POINTER_INVALID"),
        (drop("proposal.created"), "approvals", "POINTER_INVALID"),
        (drop("approval.added"), "approvals", "POINTER_INVALID"),
    ],
)
def test_what_is_withheld_or_forged(
    bureau: Bureau,
    history: tuple[VersionRecord, VersionRecord],
    change: Callable[[Shown], Shown],
    step: str,
    reason: str,
) -> None:
    assert broken(findings(bureau, history[0], 1, NOW, change)) == [(step, reason)]


def records(bureau: Bureau) -> list[Entry]:
    log = bureau.registry.log
    blocks = bureau.registry.audit_trail.records(0, log.size())
    return [Entry.read(e.index, e.leaf, e.documents) for block in blocks for e in block]


@pytest.mark.usefixtures("history")
def test_how_far_keys_reach(bureau: Bureau) -> None:
    bureau.registry.refusals.count("gateway", ANSWER_LOG, {"TOKEN_EXPIRED": 3})
    policies = bureau.registry.policies.chain().policies

    def kinds(keyid: str) -> list[str]:
        return [t.kind for t in of_key(keyid, records(bureau), policies).found]

    assert sorted(kinds(key("anna").public.keyid)) == ["approval"] * 2 + ["pointer"] * 3
    assert kinds(key("root-0").public.keyid) == ["policy"]
    assert kinds(key("carla").public.keyid) == []
    robot = kinds(key("robot").public.keyid)
    assert (robot.count("version"), robot.count("pointer"), robot.count("revocation")) == (2, 3, 1)
    paula = of_key(p256_key("paula").public.keyid, records(bureau), policies)
    assert len(paula.digests) == 2
    assert of_key(key("answer-log").public.keyid, records(bureau), policies).logs == {ANSWER_LOG}
    with refused(Reason.KEY_UNKNOWN):
        of_key("0" * 64, records(bureau), policies)


def test_how_far_a_version_reaches(
    bureau: Bureau, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, two = history
    reach = of_version("digits/1", records(bureau))
    assert [t.kind for t in reach.found] == ["version", "proposal", "pointer", "pointer"]
    assert reach.searches(ANSWER_LOG) == ((one.digest,),)
    assert of_version(two.digest, records(bureau)).found[-1].kind == "revocation"
    values = {"version_digest": one.digest, "model": "digits", "pointer_sequence": "1"}
    assert reach.touches(ANSWER_LOG, values)
    assert not reach.touches(ANSWER_LOG, {**values, "version_digest": two.digest})
    with refused(Reason.VERSION_UNKNOWN):
        of_version("digits/9", records(bureau))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(("start", "end"), [(0, 0), (-1, 2), (2, 1), (0, 10_000)])
def test_records_that_the_log_does_not_have(bureau: Bureau, start: int, end: int) -> None:
    with refused(Reason.ENTRY_UNKNOWN):
        list(bureau.registry.audit_trail.records(start, end))
