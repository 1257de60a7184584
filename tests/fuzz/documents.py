"""Harnesses of what is signed or proves something: statements, policies, receipts, notes, tiles."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.health_limits import ModelOutcomes, OutcomeLimits, OutcomeRules
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.cose_receipt import CoseReceipt, TransparentStatement
from sealgate.trust.statements import (
    Approval,
    Evidence,
    Freshness,
    Manifest,
    Pointer,
    PointerBundle,
    Proposal,
    Revocation,
    oms,
)
from sealgate.trust.statements.allowance import Allowance
from sealgate.trust.statements.covering import EngineCounts
from sealgate.trust.timestamps import Timestamp, TimestampAuthority
from sealgate.trust.transparency import TlogProof, ml_dsa, open_checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey, cosignatures
from sealgate.trust.transparency.merkle import HASH_SIZE
from sealgate.trust.transparency.ml_dsa import Cosigner
from sealgate.trust.transparency.note import Verifier, open_note, vkey
from sealgate.trust.transparency.tiles import (
    WIDTH,
    Frontier,
    consistency_proof,
    inclusion_proofs,
    partial_width,
)
from sealgate.witness.service import AddCheckpoint
from tests.fuzz.harness import Harness, canonical_form, chosen
from tests.support.builders.documents import receipts, vectors
from tests.support.builders.documents.allowances import an_allowance
from tests.support.builders.documents.cose_receipts import cose_receipt, transparent_statement
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    PromotionDocuments,
    at,
    key,
    make_policy,
    p256_key,
)

_TRUST = "sealgate.trust"
_VECTORS = Path(__file__).parents[1] / "vectors"
_STATEMENTS = (
    Proposal,
    Approval,
    Pointer,
    Revocation,
    Freshness,
    Evidence,
    Allowance,
    EngineCounts,
    PointerBundle,
)
_POLICY = receipts.policy_in_force()
_VKEY = vkey(ANSWER_LOG, key("answer-log").public)
_STAMPS = json.loads((_VECTORS / "timestamps.json").read_text())
_AUTHORITY = TimestampAuthority(_STAMPS["certificates"].encode())
_MANIFEST = Manifest.of(vectors.FILES)
_PUBLISHER = p256_key("paula").public


def _parse_statement(data: bytes) -> None:
    kind, rest = chosen(data, len(_STATEMENTS))
    payload = canonical_form(rest)
    assert _STATEMENTS[kind].decode(payload).encode() == payload


def _statements() -> Iterator[bytes]:
    promotion_documents = PromotionDocuments(make_policy())
    promotion = promotion_documents.promotion()
    pointer = Pointer.decode(promotion.pointer.payload)
    digest = pointer.digest
    for statement in (
        promotion_documents.proposal(),
        promotion_documents.proposal(alias="canary", share=10),
        Approval(pointer.proposal, "anna", "I have reviewed it.", at()),
        pointer,
        Revocation("digits", 1, digest, "a stolen model", "otto", at()),
        Freshness.decode(promotion_documents.freshness(pointer).payload),
        an_allowance(),
        EngineCounts("engine", "0f" * 16, 3, at(hours=-1), at(), ((digest, 2, 7),)),
        promotion,
        promotion_documents.rollback(promotion),
        Evidence("review", digest, "paula", at(), {"says": ["good", 1, 0.5]}),
    ):
        yield bytes([_STATEMENTS.index(type(statement))]) + statement.encode()


def _parse_policy(data: bytes) -> None:
    data = canonical_form(data)
    assert Policy.decode(data).encode() == data


def _policies() -> Iterator[bytes]:
    yield _POLICY.encode()
    limits = OutcomeLimits(3600, 10, "alarm", accuracy_percent=90, psi_percent=20)
    taken = ModelOutcomes({"age": ("young", "old")}, {"production": limits})
    yield make_policy(outcomes=OutcomeRules({"*": ModelOutcomes(), "digits": taken})).encode()
    for name in ("policy-conditions.json", "policy.json"):
        document = json.loads((_VECTORS / name).read_text())
        if "payload" in document:
            yield document["payload"].encode()
        for text in document.get("envelopes", ()):
            yield Envelope.decode(text.encode()).payload


def _parse_envelope(data: bytes) -> None:
    envelope = Envelope.decode(data)
    assert envelope.encode() == data
    keys = {signer.public.keyid: signer.public for signer in map(key, ("anna", "arne"))}
    dsse.verify(envelope, envelope.payload_type, keys, 1)


def _envelopes() -> Iterator[bytes]:
    yield vectors.envelope()["envelope"].encode()


def _parse_receipt(data: bytes) -> None:
    receipt = Receipt.decode(data)
    assert receipt.encode() == data
    verify_receipt(receipt, _POLICY)


def _receipts() -> Iterator[bytes]:
    yield receipts.receipt().encode()
    yield json.loads((_VECTORS / "receipt.json").read_text())["receipt"].encode()


def _parse_cose(data: bytes) -> None:
    kind, rest = chosen(data, 2)
    if kind:
        TransparentStatement.decode(rest).verify(_POLICY)
    else:
        CoseReceipt.decode(rest).verify(receipts.ENTRY, _POLICY)


def _cose() -> Iterator[bytes]:
    yield b"\x00" + cose_receipt().encode()
    yield b"\x01" + transparent_statement().encode()


def _parse_stamp(data: bytes) -> None:
    _AUTHORITY.verify(Timestamp(_STAMPS["message"], data))


def _stamps() -> Iterator[bytes]:
    for stamp in _STAMPS["stamps"]:
        yield bytes.fromhex(stamp["data"])


def _parse_note(data: bytes) -> None:
    kind, rest = chosen(data, 6)
    text = rest.decode("utf-8", "surrogateescape")
    if kind == 0:
        open_checkpoint(text, _VKEY)
    elif kind == 1:
        open_note(text, [Verifier.from_vkey(_VKEY)])
    elif kind == 2:
        cosignatures(text, [WitnessKey.of("witness.example", key("anna").public)])
    elif kind == 3:
        Verifier.from_vkey(text)
    elif kind == 4:
        WitnessKey.from_vkey(text)
    else:
        Cosigner.from_vkey(text)


def _notes() -> Iterator[bytes]:
    note = receipts.proof_of().checkpoint_note
    for kind in range(3):
        yield bytes([kind]) + note.encode()
    yield b"\3" + _VKEY.encode()
    yield b"\4" + WitnessKey.of("witness.example", key("anna").public).vkey.encode()
    yield b"\5" + ml_dsa.vkey(ANSWER_LOG, bytes(1312)).encode()


def _parse_proof(data: bytes) -> None:
    text = data.decode()
    assert TlogProof.decode(text).encode() == text


def _proofs() -> Iterator[bytes]:
    yield receipts.proof_of().encode().encode()
    yield json.loads((_VECTORS / "tlog-proof.json").read_text())["proof"].encode()


def _parse_witness_request(data: bytes) -> None:
    assert AddCheckpoint.decode(data).encode() == data


def _witness_requests() -> Iterator[bytes]:
    note = receipts.proof_of().checkpoint_note
    yield AddCheckpoint(0, (), note).encode()
    yield AddCheckpoint(7, (bytes(32), bytes(range(32))), note).encode()


class _Tiles:
    """Tiles out of the fuzzer's bytes, cut off where these end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, level: int, index: int, width: int) -> bytes:
        at = (level * 7 + index) * HASH_SIZE % (len(self._data) + 1)
        return self._data[at : at + width * HASH_SIZE]


def _parse_tiles(data: bytes) -> None:
    size, old, index = (int.from_bytes(data[at : at + 3], "big") for at in (0, 3, 6))
    reader = _Tiles(data[9:])
    if not old <= size or index >= size:
        return
    assert 0 <= partial_width(0, size) < WIDTH
    Frontier.load(reader, size)
    inclusion_proofs(reader, [index], size)
    if old:
        consistency_proof(reader, old, size)


def _tiles() -> Iterator[bytes]:
    hashes = bytes(range(256)) * 8
    for size, old, index in ((11, 3, 6), (300, 256, 263), (70_000, 65_536, 1)):
        yield b"".join(number.to_bytes(3, "big") for number in (size, old, index)) + hashes


def _parse_manifest(data: bytes) -> None:
    kind, rest = chosen(data, 2)
    if kind == 0:
        assert Manifest.decode(rest).encode() == rest
    else:
        oms.verify(rest, _MANIFEST, [_PUBLISHER])


def _manifests() -> Iterator[bytes]:
    yield b"\0" + _MANIFEST.encode()
    bundle = oms.sign(_MANIFEST, p256_key("paula"))
    yield b"\1" + bundle
    yield b"\1" + base64.b64encode(bundle)


HARNESSES = (
    Harness(
        "statements",
        _parse_statement,
        _statements,
        (
            f"{_TRUST}.statements",
            f"{_TRUST}.statement_form",
            f"{_TRUST}.fields",
            f"{_TRUST}.canonical",
        ),
    ),
    Harness("policies", _parse_policy, _policies, (f"{_TRUST}.policy", f"{_TRUST}.policy_parts")),
    Harness("envelopes", _parse_envelope, _envelopes, (f"{_TRUST}.dsse",)),
    Harness("cose", _parse_cose, _cose, (f"{_TRUST}.receipts.cose_receipt", f"{_TRUST}.cbor")),
    Harness("stamps", _parse_stamp, _stamps, (f"{_TRUST}.timestamps",)),
    Harness("receipts", _parse_receipt, _receipts, (f"{_TRUST}.receipt", f"{_TRUST}.merkle")),
    Harness(
        "notes",
        _parse_note,
        _notes,
        (f"{_TRUST}.note", f"{_TRUST}.checkpoint", f"{_TRUST}.cosignature"),
    ),
    Harness("proofs", _parse_proof, _proofs, (f"{_TRUST}.proof",), (UnicodeDecodeError,)),
    Harness(
        "witness-requests",
        _parse_witness_request,
        _witness_requests,
        ("sealgate.witness.service",),
    ),
    Harness("tiles", _parse_tiles, _tiles, (f"{_TRUST}.tiles", f"{_TRUST}.frontier")),
    Harness("manifests", _parse_manifest, _manifests, (f"{_TRUST}.manifest", f"{_TRUST}.oms")),
)
