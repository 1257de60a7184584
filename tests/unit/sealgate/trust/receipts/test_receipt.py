from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.receipts import (
    CALLER_FIELDS,
    Receipt,
    answer_entry,
    verify_by_history,
    verify_receipt,
)
from sealgate.trust.receipts.answer_entry import FIELDS, V1_FIELDS
from sealgate.trust.transparency import Checkpoint, TlogProof, merkle, sign_checkpoint
from sealgate.trust.transparency.tiles import Frontier
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    key,
    make_policy,
    refused,
)

POLICY = make_policy()
VALUES = tuple(f'{field}: "\\\t\n\x01\x7fü€😀' for field in FIELDS)
SALTS = answer_entry.salts(b"k" * 32, b"n" * 16)
ENTRY = answer_entry.leaf(VALUES, SALTS)


def proof(
    index: int = 4,
    origin: str = ANSWER_LOG,
    signer: str = "answer-log",
    entry: bytes = ENTRY,
) -> TlogProof:
    """The proof of an entry, by default ENTRY, as the newest of five."""
    hashes = [merkle.leaf_hash(b"other %d" % n) for n in range(4)] + [merkle.leaf_hash(entry)]
    frontier = Frontier.empty().append(hashes)
    note = sign_checkpoint(Checkpoint(origin, 5, frontier.root), key(signer))
    return TlogProof(index, tuple(frontier.inclusion_proof(4)), note)


RECEIPT = Receipt.of(ENTRY, VALUES, SALTS, proof())


def test_a_receipt_reads_back_and_proves_the_callers_fields() -> None:
    verified = verify_receipt(Receipt.decode(RECEIPT.encode()), POLICY)
    recorded = dict(zip(FIELDS, VALUES, strict=True))
    assert verified.fields == {field: recorded[field] for field in CALLER_FIELDS}
    assert (verified.checkpoint.origin, verified.checkpoint.size) == (ANSWER_LOG, 5)


def test_a_receipt_of_a_log_that_was_left_out_is_verified_by_the_policy_before() -> None:
    without = make_policy(version=2, answer_logs=())
    with refused(Reason.LOG_UNKNOWN):
        verify_receipt(RECEIPT, without)
    assert verify_by_history(RECEIPT, [POLICY, without]) == verify_receipt(RECEIPT, POLICY)
    with refused(Reason.LOG_UNKNOWN):
        verify_by_history(RECEIPT, [without])


def test_a_receipt_of_an_entry_of_v1_is_still_proved() -> None:
    values, salts = VALUES[:15], SALTS[:15]
    entry = answer_entry.leaf(values, salts)
    receipt = Receipt.of(entry, values, salts, proof(entry=entry))
    assert b"sealgate/receipt/v1" in receipt.encode()
    read = Receipt.decode(receipt.encode())
    assert (read, read.names, read.entry) == (receipt, V1_FIELDS, entry)
    assert verify_receipt(read, POLICY).fields.keys() == set(V1_FIELDS) - {"score", "threshold"}
    assert read.opens_for_caller


def test_a_receipt_cannot_pass_for_one_of_the_older_format() -> None:
    """Not even with the commitments of the new fields taken out."""
    data = RECEIPT.encode().replace(b"receipt/v2", b"receipt/v1")
    with refused(Reason.DOCUMENT_MALFORMED):
        Receipt.decode(data)
    opened = {name: RECEIPT.opened[name] for name in V1_FIELDS if name in RECEIPT.opened}
    older = Receipt(RECEIPT.commitments[: len(V1_FIELDS)], opened, RECEIPT.proof)
    with refused(Reason.PROOF_INVALID):
        verify_receipt(Receipt.decode(older.encode()), POLICY)


def test_a_receipt_that_keeps_a_new_field_does_not_open_what_the_caller_may_see() -> None:
    assert RECEIPT.opens_for_caller
    for name in CALLER_FIELDS:
        fewer = {field: pair for field, pair in RECEIPT.opened.items() if field != name}
        assert not replace(RECEIPT, opened=fewer).opens_for_caller


def test_the_caller_never_sees_score_or_threshold() -> None:
    assert set(FIELDS) - set(CALLER_FIELDS) == {"score", "threshold"}
    assert b"score" not in RECEIPT.encode()
    assert b"threshold" not in RECEIPT.encode()


def test_an_auditor_may_be_shown_more() -> None:
    receipt = Receipt.of(ENTRY, VALUES, SALTS, proof(), FIELDS)
    assert verify_receipt(receipt, POLICY).fields["score"] == VALUES[FIELDS.index("score")]


@given(st.lists(st.text(max_size=20), min_size=len(FIELDS), max_size=len(FIELDS)))
def test_what_is_written_is_canonical(values: list[str]) -> None:
    entry = answer_entry.leaf(values, SALTS)
    receipt = Receipt.of(entry, values, SALTS, RECEIPT.proof, FIELDS)
    data = receipt.encode()
    assert canonical.encode(canonical.decode(data)) == data
    assert Receipt.decode(data) == receipt


def test_a_changed_field_is_noticed() -> None:
    salt, _ = RECEIPT.opened["outcome"]
    other_salt, value = RECEIPT.opened["verdict"]
    for opened in (
        {"outcome": (salt, "answered")},
        {"verdict": (salt, value)},
        {"outcome": (other_salt, value)},
    ):
        with refused(Reason.PROOF_INVALID):
            verify_receipt(replace(RECEIPT, opened={**RECEIPT.opened, **opened}), POLICY)


def test_a_changed_commitment_is_noticed() -> None:
    forged = (*RECEIPT.commitments[:-1], bytes(32))
    with refused(Reason.PROOF_INVALID):
        verify_receipt(replace(RECEIPT, commitments=forged), POLICY)


def test_a_proof_of_another_entry_is_refused() -> None:
    with refused(Reason.PROOF_INVALID):
        verify_receipt(replace(RECEIPT, proof=proof(index=3)), POLICY)
    with refused(Reason.PROOF_INVALID):
        verify_receipt(replace(RECEIPT, proof=replace(RECEIPT.proof, hashes=())), POLICY)


def test_a_log_that_the_policy_does_not_name_is_refused() -> None:
    for origin, signer in [("example.org/mine", "answer-log"), (REGISTRY_LOG, "registry-log")]:
        with refused(Reason.LOG_UNKNOWN):
            verify_receipt(replace(RECEIPT, proof=proof(origin=origin, signer=signer)), POLICY)


def test_a_checkpoint_that_the_log_did_not_sign_is_refused() -> None:
    with refused(Reason.SIGNATURE_INVALID):
        verify_receipt(replace(RECEIPT, proof=proof(signer="mallory")), POLICY)
    altered = RECEIPT.proof.checkpoint_note.replace("\n5\n", "\n6\n")
    with refused(Reason.SIGNATURE_INVALID):
        verify_receipt(
            replace(RECEIPT, proof=replace(RECEIPT.proof, checkpoint_note=altered)), POLICY
        )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"commitments":["', b'"commitments":["' + b"0" * 64 + b'","'),
        (b'"opened":{', b'"opened":{"actor":{"salt":"' + b"0" * 32 + b'","value":""},'),
        (b'"salt":"', b'"salt":"00'),
        (b'"value":', b'"value": '),
        (b"receipt/v2", b"receipt/v1"),
        (b"receipt/v2", b"receipt/v3"),
        (b"tlog-proof@v1", b"tlog-proof@v2"),
        (b'"proof":"', b'"proof":null,"proofs":"'),
        (b'"commitments":["', b'"commitments":["zz'),
    ],
)
def test_other_forms_of_receipt_are_refused(old: bytes, new: bytes) -> None:
    assert old in RECEIPT.encode()
    with refused(Reason.DOCUMENT_MALFORMED):
        Receipt.decode(RECEIPT.encode().replace(old, new, 1))


def test_a_receipt_is_checked_when_built() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        replace(RECEIPT, commitments=RECEIPT.commitments[:-1])
    with refused(Reason.DOCUMENT_MALFORMED):
        replace(RECEIPT, commitments=(b"", *RECEIPT.commitments[1:]))
    with refused(Reason.DOCUMENT_MALFORMED):
        replace(RECEIPT, opened={"actor": (bytes(16), "")})
