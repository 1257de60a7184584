"""COSE receipts and transparent statements: of others, of ours, forged, and under former keys."""

from dataclasses import replace

import cbor2
import pytest

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.cose import ALG, CONTENT_TYPE, CRIT, CWT_CLAIMS, KID, Sign1
from sealgate.trust.policy import Policy
from sealgate.trust.policy.validity import FormerLogKey, FormerLogKeys
from sealgate.trust.receipts.cose_receipt import (
    VDS,
    CoseReceipt,
    TransparentStatement,
    sign_entry,
    sign_root,
)
from sealgate.trust.transparency import Checkpoint, merkle
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.cose_receipts import (
    SIGNER,
    cose_receipt,
    transparent_statement,
)
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    REGISTRY_LOG,
    key,
    make_policy,
    refused,
)
from tests.support.builders.documents.receipts import ENTRY, INDEX, SIZE
from tests.support.oracles.cose_vectors import CoseVector, cose_vectors, signed_vectors

POLICY = make_policy()
MUTATED = {
    Reason.DOCUMENT_MALFORMED,
    Reason.SIGNATURE_INVALID,
    Reason.PROOF_INVALID,
    Reason.LOG_UNKNOWN,
}


def named(vector: CoseVector) -> str:
    return vector.name


@pytest.mark.parametrize("vector", cose_vectors(), ids=named)
def test_vectors_of_others_are_judged_as_they_say(vector: CoseVector) -> None:
    assert vector.verdict() == vector.reason


@pytest.mark.parametrize("vector", signed_vectors(), ids=named)
def test_vectors_of_others_are_refused_once_a_byte_is_changed(vector: CoseVector) -> None:
    verdicts = {vector.verdict(mutated) for mutated in vector.mutations(8)}
    assert verdicts <= {"DOCUMENT_MALFORMED", "SIGNATURE_INVALID", "PROOF_INVALID"}
    assert "SIGNATURE_INVALID" in verdicts


def test_a_receipt_reads_back_and_proves_the_entry() -> None:
    made = cose_receipt()
    read = CoseReceipt.decode(made.encode())
    assert read.encode() == made.encode()
    tree = read.verify(ENTRY, POLICY)
    assert (tree.origin, tree.size, read.index) == (ANSWER_LOG, SIZE, SIZE - 2)
    assert read.signed.kid == SIGNER.public.keyid
    assert read.signed.payload is None


def test_a_statement_reads_back_and_proves_its_payload() -> None:
    read = TransparentStatement.decode(transparent_statement().encode())
    index, tree = read.verify(POLICY)
    assert (index, tree.origin, tree.size) == (SIZE - 2, ANSWER_LOG, SIZE)
    assert read.entry == ENTRY
    assert read.signed.header[CONTENT_TYPE] == "application/vnd.sealgate.answer.v2"


def test_every_flipped_byte_of_ours_is_refused() -> None:
    for made, read in (
        (cose_receipt().encode(), _receipt),
        (transparent_statement().encode(), _statement),
    ):
        for place in range(len(made)):
            changed = bytearray(made)
            changed[place] ^= 1 << place % 8
            with pytest.raises(SealgateError) as refusal:
                read(bytes(changed))
            assert refusal.value.reason in MUTATED


def _receipt(data: bytes) -> None:
    CoseReceipt.decode(data).verify(ENTRY, POLICY)


def _statement(data: bytes) -> None:
    TransparentStatement.decode(data).verify(POLICY)


def test_another_entry_or_another_log_is_refused() -> None:
    with refused(Reason.SIGNATURE_INVALID):
        cose_receipt().verify(b"another", POLICY)
    unknown = cose_receipt(origin="example.com/elsewhere")
    with refused(Reason.LOG_UNKNOWN):
        unknown.verify(ENTRY, POLICY)
    # The key of one log vouches for no other.
    other = cose_receipt(origin=REGISTRY_LOG)
    with refused(Reason.SIGNATURE_INVALID):
        other.verify(ENTRY, POLICY)


def test_a_size_that_was_not_signed_is_refused_though_its_path_is_the_same() -> None:
    first, entry = cose_receipt(size=4, index=0), b"other 0"
    forged = replace(first, size=3)
    assert forged.root(entry) == first.root(entry)
    first.verify(entry, POLICY)
    with refused(Reason.PROOF_INVALID):
        forged.verify(entry, POLICY)


def test_a_former_key_vouches_for_no_larger_tree_than_there_was() -> None:
    old = key("answers-before")

    def policy(size: int) -> Policy:
        former = FormerLogKey(vkey(ANSWER_LOG, old.public), size)
        return make_policy(former_logs=FormerLogKeys({ANSWER_LOG: (former,)}))

    made = cose_receipt(signer=old)
    assert made.verify(ENTRY, policy(SIZE)).size == SIZE
    beyond = policy(SIZE - 1)
    with refused(Reason.SIGNATURE_INVALID):
        made.verify(ENTRY, beyond)
    with refused(Reason.SIGNATURE_INVALID):
        made.verify(ENTRY, POLICY)


def test_a_statement_about_another_entry_or_without_its_logs_receipt_is_refused() -> None:
    moved = transparent_statement(index=INDEX - 1)
    with refused(Reason.PROOF_INVALID):
        moved.verify(POLICY)
    elsewhere = cose_receipt(origin="example.com/elsewhere")
    foreign = replace(transparent_statement(), receipts=(elsewhere,))
    with refused(Reason.PROOF_INVALID):
        foreign.verify(POLICY)
    header = {**sign_entry(ANSWER_LOG, SIZE - 2, ENTRY, SIGNER).header, CONTENT_TYPE: "text/plain"}
    retyped = replace(transparent_statement(), signed=Sign1.sign(header, ENTRY, SIGNER))
    with refused(Reason.PROOF_INVALID):
        retyped.verify(POLICY)


def test_the_algorithm_that_names_the_curve_is_taken_too() -> None:
    """RFC 9864: -19 is EdDSA with Ed25519 alone."""
    protected, root = cbor2.dumps({ALG: -19, VDS: 1}), bytes(32)
    signature = SIGNER.sign(cbor2.dumps(["Signature1", protected, b"", root]))
    read = Sign1.decode(Sign1(protected, {}, None, signature).encode())
    read.verify(SIGNER.public, root)
    for payload, reason in (
        (b"another", Reason.SIGNATURE_INVALID),
        (None, Reason.SIGNATURE_INVALID),
    ):
        with refused(reason):
            read.verify(SIGNER.public, payload)
    with refused(Reason.PROOF_INVALID):
        replace(read, payload=root).verify(SIGNER.public, b"another")


def test_a_tree_of_one_entry_has_no_receipt() -> None:
    root = merkle.leaf_hash(ENTRY)
    alone = CoseReceipt(sign_root(Checkpoint(ANSWER_LOG, 1, root), SIGNER), 1, 0, ())
    with refused(Reason.ENTRY_UNKNOWN):
        alone.encode()


def _message(header: object, unprotected: object = None) -> bytes:
    parts = [cbor2.dumps(header), unprotected or {}, None, b""]
    return cbor2.dumps(cbor2.CBORTag(18, parts))


RFC9162 = {ALG: -8, VDS: 1}
FORMS = {
    "nothing": b"",
    "cut": b"\xd2\x84",
    "more behind it": cose_receipt().encode() + b"\x00",
    "no tag": cose_receipt().encode()[1:],
    "a tag inside": b"\xd2\x84\x40\xa0\xf6\xc1\x00",
    "deep": b"\xd2" + b"\x81" * 100_000,
    "long": b"\xd2" + bytes(1 << 19),
    "no header": cbor2.dumps(cbor2.CBORTag(18, [b"", {}, None, b""])),
    "ES384": _message({ALG: -35, VDS: 1}),
    "no integer": _message({ALG: -8.0, VDS: 1}),
    "a list": _message({ALG: [], VDS: 1}),
    "a critical member": _message({**RFC9162, CRIT: [99]}),
    "CCF": _message({ALG: -8, VDS: 2}, {396: {-1: []}}),
    "consistency": _message(RFC9162, {396: {-2: []}}),
    "no proof": _message(RFC9162, {396: {-1: []}}),
    "no hash": _message(RFC9162, {396: {-1: [cbor2.dumps([2, 1, []])]}}),
    "a short hash": _message(RFC9162, {396: {-1: [cbor2.dumps([2, 1, [b"short"]])]}}),
    "outside": _message(RFC9162, {396: {-1: [cbor2.dumps([2, 2, [bytes(32)]])]}}),
    "a truth for a name": _message(RFC9162, {True: {}}),
    "receipts of text": _message(RFC9162, {394: ["receipt"]}),
}


@pytest.mark.parametrize("encoded", FORMS.values(), ids=FORMS)
def test_other_forms_are_refused(encoded: bytes) -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        CoseReceipt.decode(encoded)
    with refused(Reason.DOCUMENT_MALFORMED):
        TransparentStatement.decode(encoded)


def test_the_signed_header_has_what_the_specifications_ask_for() -> None:
    header = CoseReceipt.decode(cose_receipt().encode()).signed.header
    assert header == {
        ALG: -8,
        KID: bytes.fromhex(SIGNER.public.keyid),
        CWT_CLAIMS: {1: ANSWER_LOG, 2: f"{ANSWER_LOG}/tree/{SIZE}"},
        VDS: 1,
    }
