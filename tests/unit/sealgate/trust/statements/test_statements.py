from dataclasses import fields, replace
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import (
    Approval,
    Evidence,
    Freshness,
    Pointer,
    PointerBundle,
    Revocation,
)
from sealgate.trust.statements.base import Statement
from tests.support.builders.documents.people import (
    VERSION_DIGEST,
    PromotionDocuments,
    at,
    make_policy,
    refused,
)

OFFICE = PromotionDocuments(make_policy())
BUNDLE = OFFICE.promotion()
PROPOSAL = OFFICE.proposal()
POINTER = Pointer.decode(BUNDLE.pointer.payload)
FRESHNESS = Freshness(
    7,
    (("digits/canary", 2, "sha256:" + "5" * 64), ("digits/production", 3, "sha256:" + "4" * 64)),
    ("sha256:" + "6" * 64, "sha256:" + "7" * 64),
    at(),
    at(hours=1),
)
STATEMENTS: list[Statement] = [
    PROPOSAL,
    Approval.decode(BUNDLE.approvals[0].payload),
    POINTER,
    Revocation("digits", 1, VERSION_DIGEST, "it drifts", "otto", at()),
    FRESHNESS,
    Evidence("golden-run", VERSION_DIGEST, "paula", at(), {"accuracy": 0.97, "rows": 360}),
]
BY_TYPE = pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: type(s).__name__)


@BY_TYPE
def test_a_statement_reads_back(statement: Statement) -> None:
    assert type(statement).decode(statement.encode()) == statement
    assert canonical.decode(statement.encode())["type"] == statement.TYPE


@BY_TYPE
def test_no_statement_reads_as_another(statement: Statement) -> None:
    for other in {type(s) for s in STATEMENTS} - {type(statement)}:
        with refused(Reason.DOCUMENT_MALFORMED):
            other.decode(statement.encode())


def test_types_are_their_own() -> None:
    for name in ("TYPE", "PAYLOAD_TYPE"):
        assert len({getattr(type(s), name) for s in STATEMENTS}) == len(STATEMENTS)


@BY_TYPE
def test_unknown_missing_and_odd_fields_are_refused(statement: Statement) -> None:
    document = canonical.decode(statement.encode())
    names = [field.name for field in fields(statement)]
    forgeries: list[dict[str, Any]] = [{**document, "comment": ""}]
    forgeries += [{n: v for n, v in document.items() if n != name} for name in document]
    forgeries += [{**document, name: odd} for name in names for odd in (None, -1, ["x"], "\n")]
    for forgery in forgeries:
        with refused(Reason.DOCUMENT_MALFORMED):
            type(statement).decode(canonical.encode(forgery))


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        (PROPOSAL, {"evidence": PROPOSAL.evidence[::-1]}),
        (
            PROPOSAL,
            {"evidence": (PROPOSAL.evidence[0], ("bill-of-materials", "sha256:" + "9" * 64))},
        ),
        (PROPOSAL, {"version": True}),
        (POINTER, {"approvals": POINTER.approvals[::-1]}),
        (POINTER, {"approvals": POINTER.approvals[:1] * 2}),
        (POINTER, {"action": "rollback"}),
        (POINTER, {"returns_to": VERSION_DIGEST}),
        (POINTER, {"action": "delete"}),
        (POINTER, {"sequence": 0}),
        (POINTER, {"reason": " "}),
        (POINTER, {"reason": "x" * 501}),
        (POINTER, {"reason": "a\u202eb"}),
        (POINTER, {"model": "Digits"}),
        (FRESHNESS, {"pointers": FRESHNESS.pointers[::-1]}),
        (FRESHNESS, {"pointers": FRESHNESS.pointers[:1] * 2}),
        (FRESHNESS, {"pointers": (("digits", 1, VERSION_DIGEST),)}),
        (FRESHNESS, {"pointers": (("digits/a/b", 1, VERSION_DIGEST),)}),
        (FRESHNESS, {"revoked": FRESHNESS.revoked[::-1]}),
    ],
)
def test_odd_values_are_refused(statement: Statement, changes: dict[str, Any]) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        replace(statement, **changes)


def test_freshness_finds_pointers() -> None:
    assert FRESHNESS.pointer("digits", "production") == (3, "sha256:" + "4" * 64)
    assert FRESHNESS.pointer("digits", "shadow") is None


def test_bundles_read_back() -> None:
    for bundle in (BUNDLE, OFFICE.rollback(BUNDLE)):
        assert PointerBundle.decode(bundle.encode()) == bundle


def test_a_rollback_rests_on_a_promotion_alone() -> None:
    rollback = OFFICE.rollback(BUNDLE)
    with refused(Reason.DOCUMENT_MALFORMED):
        OFFICE.rollback(rollback)
    with refused(Reason.DOCUMENT_MALFORMED):
        replace(rollback, approvals=rollback.approvals[:1])
    document = canonical.decode(rollback.encode())
    document["returned"] = canonical.decode(rollback.encode())
    with refused(Reason.DOCUMENT_MALFORMED):
        PointerBundle.decode(canonical.encode(document))


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"returned":{}}', BUNDLE.pointer.encode()])
def test_other_forms_of_bundle_are_refused(data: bytes) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        PointerBundle.decode(data)


def test_an_envelope_of_a_statement_knows_its_digest() -> None:
    envelope = Envelope(PROPOSAL.PAYLOAD_TYPE, PROPOSAL.encode(), (("a", b""),))
    assert envelope.payload_digest == PROPOSAL.payload_digest
