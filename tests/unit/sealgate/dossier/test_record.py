"""The record of a model is what people signed about it, whatever a log's entries say."""

from dataclasses import replace
from typing import Any

import pytest

from sealgate.audit.entries import ProvedEntry
from sealgate.dossier import read_record
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Evidence, Manifest, PointerBundle, sign_statement
from tests.support.builders.documents.people import (
    PromotionDocuments,
    at,
    key,
    make_policy,
    refused,
)

POLICY = make_policy()
PLACE = "models/digits/aliases/production"
MANIFEST = Manifest.of({"model.json": b"{}"})
BUNDLE = PromotionDocuments(POLICY).promotion()
OTHER = PromotionDocuments(POLICY).promotion(not_after=at(days=6))
FOREIGN = PromotionDocuments(POLICY).promotion(model="faces")


def entry(event: str, subject: str, *documents: bytes, **body: Any) -> ProvedEntry:
    shown = {sha256(document): document for document in documents}
    return ProvedEntry(0, event, at(), "otto", subject, body, shown)


def proposed(bundle: PointerBundle) -> ProvedEntry:
    data = bundle.proposal.encode()
    digest = BUNDLE.proposal.payload_digest
    return entry("proposal.created", PLACE, data, proposal=digest, envelope=sha256(data))


def approved(bundle: PointerBundle) -> ProvedEntry:
    subject, data = f"proposals/{BUNDLE.proposal.payload_digest}", bundle.approvals[0].encode()
    return entry("approval.added", subject, data, envelope=sha256(data))


def moved(bundle: PointerBundle) -> ProvedEntry:
    return entry("pointer.moved", PLACE, bundle.encode(), bundle=sha256(bundle.encode()))


def registered(version_digest: str) -> ProvedEntry:
    evidence = Evidence("red-team", version_digest, "paula", at(), {})
    item, manifest = sign_statement(evidence, key("paula")).encode(), MANIFEST.encode()
    body: dict[str, Any] = {"digest": MANIFEST.digest, "manifest": sha256(manifest)}
    body["evidence"] = [sha256(item)]
    return entry("version.registered", "models/digits/versions/1", manifest, item, **body)


def read(*entries: ProvedEntry) -> Any:
    first = (entry("policy.accepted", "policies/1"), entry("model.created", "models/digits"))
    return read_record("digits", (*first, *entries), (POLICY,))


def test_what_people_signed_is_read() -> None:
    record = read(registered(MANIFEST.digest), proposed(BUNDLE), approved(BUNDLE), moved(BUNDLE))
    told = (record.versions, record.proposals, record.approvals, record.moves)
    assert [len(each) for each in told] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "shown",
    [
        [registered("sha256:" + "9" * 64)],
        [proposed(FOREIGN)],
        [proposed(BUNDLE), approved(OTHER)],
        [proposed(BUNDLE), moved(FOREIGN)],
        # A move that nobody approved, beside the proposal of another that somebody did.
        [proposed(BUNDLE), moved(replace(OTHER, proposal=BUNDLE.proposal))],
    ],
)
def test_what_was_signed_about_something_else_is_refused(shown: list[ProvedEntry]) -> None:
    with refused(Reason.LOG_INCONSISTENT):
        read(*shown)
