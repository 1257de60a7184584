"""The registry's log proves what an answer rests on, and shows what is withheld."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from registry.audit.trail import EntryProof
from registry.audit.trail import RegistryExcerpt as Shown
from registry.state.records import VersionRecord
from sealgate.audit.decision import HOLDS, DecisionStep, Examination
from sealgate.audit.entries import LogExcerpt
from sealgate.audit.reader import OpenedEntry
from sealgate.trust.policy import EvidenceRules
from sealgate.trust.receipts import Receipt
from sealgate.trust.receipts.answer_entry import FIELDS
from sealgate.trust.statements import Evidence, sign_statement
from sealgate.trust.times import format_micros
from sealgate.trust.transparency import Checkpoint
from tests.support.builders.documents.excerpts import MINUTE, opened, without
from tests.support.builders.documents.people import NOW, at, key
from tests.support.builders.documents.receipts import proof_of
from tests.support.builders.documents.receipts import receipt as receipt_of
from tests.support.harness.registry import RegistryHarness


def findings(
    harness: RegistryHarness,
    version: VersionRecord,
    sequence: int,
    moment: datetime,
    change: Callable[[Shown], Shown] = lambda shown: shown,
    **said: str,
) -> list[DecisionStep]:
    """The examination of an answer by a version under the move `sequence`; `said` are other fields
    of its entry.
    """
    chain = harness.registry.policies.chain()
    values = dict.fromkeys(FIELDS, "")
    values |= {"model": "digits", "version": str(version.version), "outcome": "answered"}
    values |= {"version_digest": version.digest, "pointer_sequence": str(sequence)}
    values |= {"time": format_micros(moment), "policy_digest": chain.policies[0].digest}
    values |= said
    told = tuple(values[field] for field in FIELDS)
    leafless = Receipt.decode(receipt_of(values=told).encode())
    assert leafless.proof == proof_of(leafless.entry)
    examination = Examination(leafless, chain.policies, harness.now)

    class Trail:
        def anchor(self, proved: Checkpoint, index: int) -> str:
            return f"an anchor covers entry {index} of {proved.origin}"

        def decision(self, model: str, digest: str, number: int, allowance: str = "") -> LogExcerpt:
            trail = harness.registry.audit_trail
            return opened(harness, change(trail.decision(model, digest, number, allowance)))

        def openings(self, *asked: object) -> list[OpenedEntry]:
            raise AssertionError("an answer without a verdict has no other entries")

    return list(examination.findings(Trail()))


def broken(found: list[DecisionStep]) -> list[tuple[str, str]]:
    return [(f.step, f.found.partition(":")[0]) for f in found if f.found != HOLDS]


def drop_documents(shown: Shown) -> Shown:
    return replace(shown, entries=tuple(replace(e, documents=()) for e in shown.entries))


def drop(event: str) -> Callable[[Shown], Shown]:
    return lambda shown: without(shown, lambda entry: entry.event == event)


def forge_manifest(shown: Shown) -> Shown:
    def forged(entry: EntryProof) -> EntryProof:
        return replace(entry, documents=tuple(d.replace(b"onnx", b"ONNX") for d in entry.documents))

    return replace(shown, entries=tuple(map(forged, shown.entries)))


def test_an_answer_leads_to_its_bytes(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, two = history
    for version, sequence, minutes in ((one, 1, 0.5), (two, 2, 1.5), (one, 3, 2.5)):
        found = findings(harness, version, sequence, NOW + minutes * MINUTE)
        assert broken(found) == []
        said = " ".join(f.what for f in found)
        for part in ("anna", "arne", "paula", "otto", "I have read it.", "golden-run by robot"):
            assert part in said


def test_an_answer_is_held_to_the_alias_that_gave_it(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    """Two aliases may name one version with moves of the same number."""
    one, _ = history
    moment = NOW + 0.5 * MINUTE
    asked = {"alias": "production", "request_id": "claim-17", "arithmetic": "int8"}
    found = findings(harness, one, 1, moment, **asked)
    assert broken(found) == []
    assert "alias 'production', request_id 'claim-17', arithmetic 'int8'" in [f.what for f in found]
    for other in ({"alias": "canary"}, {"alias": "production", "actions": "canary,label-only"}):
        found = findings(harness, one, 1, moment, **other)
        assert broken(found) == [("pointer", "POINTER_INVALID")]


def test_a_report_that_was_attached_is_told_and_held_to_its_version(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    for version, maker in ((one, "anna"), (harness.publish("three"), "otto")):
        report = Evidence(EvidenceRules.RED_TEAM, version.digest, maker, at(), {"attacks": {}})
        envelope = sign_statement(report, key(maker)).encode()
        harness.registry.attachments.attach(maker, "digits", version.version, envelope)
    found = findings(harness, one, 1, NOW + 0.5 * MINUTE)
    assert broken(found) == []
    (later,) = [f.what for f in found if f.step == "later evidence"]
    assert later.startswith("red-team by anna, attached at ")

    def without_documents(shown: Shown) -> Shown:
        return replace(shown, entries=tuple(_bare(e) for e in shown.entries))

    def _bare(entry: EntryProof) -> EntryProof:
        attached = b"evidence.attached" in entry.leaf
        return replace(entry, documents=()) if attached else entry

    found = findings(harness, one, 1, NOW + 0.5 * MINUTE, without_documents)
    assert broken(found) == [("later evidence", "DIGEST_MISMATCH")]


def test_an_answer_after_its_pointer_was_replaced(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    soon = findings(harness, one, 1, NOW + 1.5 * MINUTE)
    assert broken(soon) == []
    assert any("superseded 30.0 s before" in f.what for f in soon)
    rules = harness.policy.rules
    longest = timedelta(seconds=rules.freshness_seconds + rules.grace_seconds)
    late = findings(harness, one, 1, NOW + MINUTE + longest + MINUTE)
    assert broken(late) == [("freshness", "POINTER_STALE")]


def test_an_answer_by_a_revoked_version(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    _, two = history
    found = findings(harness, two, 2, NOW + 4 * MINUTE)
    assert broken(found) == [("revocation", "VERSION_REVOKED")]


def test_an_answer_before_its_pointer(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    assert broken(findings(harness, one, 1, NOW - 6 * MINUTE)) == [("freshness", "POINTER_INVALID")]


def test_a_sequence_that_names_another_version(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    assert broken(findings(harness, one, 2, NOW + MINUTE)) == [("pointer", "POINTER_INVALID")]


def test_a_key_that_was_withdrawn_since(
    harness: RegistryHarness, history: tuple[VersionRecord, VersionRecord]
) -> None:
    one, _ = history
    gone = key("anna").public.keyid
    people = tuple(p for p in harness.policy.principals if p.name != "anna")
    keys = {keyid: public for keyid, public in harness.policy.keys.items() if keyid != gone}
    harness.accept(principals=people, keys=keys)
    assert broken(findings(harness, one, 1, NOW)) == [("pointer", "KEY_WITHDRAWN")]


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
    harness: RegistryHarness,
    history: tuple[VersionRecord, VersionRecord],
    change: Callable[[Shown], Shown],
    step: str,
    reason: str,
) -> None:
    assert broken(findings(harness, history[0], 1, NOW, change)) == [(step, reason)]
