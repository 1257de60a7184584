"""COSE receipts (RFC 9942) of log entries, and transparent statements (RFC 9943) that carry them.

A receipt is a COSE_Sign1 by the log's key over the root of its tree, which is left out, with the
inclusion proof (RFC9162_SHA256) beside it. Of our logs:

    protected      alg EdDSA; kid: the key's id; vds 1
                   claims: iss, the log's origin; sub, `ORIGIN/tree/SIZE`
    unprotected    vdp: one inclusion proof, [size, index, path]

The size stands in the signed subject too. A proof alone does not bind it: some sizes share a path,
and a former key vouches for no more entries than the log had when it was handed over.

A transparent statement is a COSE_Sign1 by the log's key over an entry's bytes, whose receipts stand
in the header 394 and prove that the payload is in the log:

    protected      alg, kid; content type of the entry
                   claims: iss, the log's origin; sub, `ORIGIN/entries/INDEX`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import cbor
from sealgate.trust.keys import Signer
from sealgate.trust.keys.cose import (
    CONTENT_TYPE,
    CWT_CLAIMS,
    HEAD,
    ISSUER,
    SUBJECT,
    Header,
    Sign1,
    malformed,
)
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import HEADER, V1_HEADER
from sealgate.trust.transparency import Checkpoint, merkle, signing_keys

RECEIPTS, VDS, VDP = 394, 395, 396
_RFC9162_SHA256 = 1
_INCLUSION = -1
_MOST_HASHES = 64
_MOST_RECEIPTS = 16
_MOST_SIZE = 2**53
_ANSWERS = {
    V1_HEADER: "application/vnd.sealgate.answer.v1",
    HEADER: "application/vnd.sealgate.answer.v2",
}
_REGISTRY = "application/vnd.sealgate.entry.v1+json"


def sign_root(checkpoint: Checkpoint, signer: Signer) -> Sign1:
    """Sign the root of a log's tree, for the receipts of each entry in it."""
    claims = {ISSUER: checkpoint.origin, SUBJECT: _tree(checkpoint.origin, checkpoint.size)}
    header: Header = {CWT_CLAIMS: claims, VDS: _RFC9162_SHA256}
    return Sign1.sign(header, checkpoint.root, signer, detached=True)


def sign_entry(origin: str, index: int, entry: bytes, signer: Signer) -> Sign1:
    """Sign an entry of a log as a statement, which gets its receipts later."""
    claims = {ISSUER: origin, SUBJECT: _entry(origin, index)}
    return Sign1.sign({CONTENT_TYPE: content_type(entry), CWT_CLAIMS: claims}, entry, signer)


def content_type(entry: bytes) -> str:
    """The media type of an entry: of an answer log, or of the registry's."""
    return _ANSWERS.get(entry[: len(HEADER)], _REGISTRY)


def is_cose(data: bytes) -> bool:
    """Say whether a file is tagged as a COSE_Sign1, as no JSON is."""
    return data.startswith(HEAD)


def is_statement(data: bytes) -> bool:
    """Say whether a COSE_Sign1 has receipts. Raises SealgateError(DOCUMENT_MALFORMED)."""
    return RECEIPTS in Sign1.decode(data).unprotected


@dataclass(frozen=True, slots=True)
class CoseReceipt:
    """A signed root, and the proof that an entry is at `index` of the tree of `size` entries."""

    signed: Sign1
    size: int
    index: int
    hashes: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the CBOR. Raises SealgateError(ENTRY_UNKNOWN) for the one entry of a tree, whose
        proof has no hash, for which the format has no form.
        """
        if not self.hashes:
            raise SealgateError(Reason.ENTRY_UNKNOWN, "a tree of one entry has no COSE receipt")
        proof = cbor.encode([self.size, self.index, list(self.hashes)])
        return replace(self.signed, unprotected={VDP: {_INCLUSION: [proof]}}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a receipt with one inclusion proof. Raises SealgateError(DOCUMENT_MALFORMED)."""
        signed = Sign1.decode(data)
        if signed.header.get(VDS) != _RFC9162_SHA256:
            raise malformed("another data structure than RFC9162_SHA256")
        proofs = signed.unprotected.get(VDP)
        if not isinstance(proofs, Mapping) or proofs.keys() != {_INCLUSION}:
            raise malformed("a receipt has inclusion proofs and no others")
        match proofs[_INCLUSION]:
            case [bytes() as proof]:
                size, index, hashes = _read_proof(cbor.decode(proof))
            case _:
                raise malformed("a receipt has one inclusion proof")
        return cls(signed, size, index, hashes)

    @property
    def issuer(self) -> str:
        """The issuer that it names: of our logs, the origin; empty where it names none."""
        return self.signed.claim(ISSUER)

    def root(self, entry: bytes) -> bytes:
        """Return the root to which its proof leads from an entry. Raises: PROOF_INVALID."""
        leaf = merkle.leaf_hash(entry)
        return merkle.inclusion_root(leaf, self.index, self.size, self.hashes)

    def verify(self, entry: bytes, policy: Policy) -> Checkpoint:
        """Check that a log of the policy holds an entry, and return the tree that it is in.

        1. Its issuer is a log that the policy names (LOG_UNKNOWN).
        2. The proof leads from the entry to a root (PROOF_INVALID).
        3. The size is the one that was signed (PROOF_INVALID).
        4. A key that the log had at this size has signed the root (SIGNATURE_INVALID).
        """
        # 1.
        vkey = policy.log_key(self.issuer)
        # 2.
        root = self.root(entry)
        # 3.
        if self.signed.claim(SUBJECT) != _tree(self.issuer, self.size):
            raise SealgateError(Reason.PROOF_INVALID, "the receipt is signed for another size")
        # 4.
        _verify_by_log(self.signed, vkey, self.size, root)
        return Checkpoint(self.issuer, self.size, root)


@dataclass(frozen=True, slots=True)
class TransparentStatement:
    """An entry that its log has signed as a statement, with the receipts of it."""

    signed: Sign1
    receipts: tuple[CoseReceipt, ...]

    @property
    def entry(self) -> bytes:
        """The payload."""
        return self.signed.payload or b""

    def encode(self) -> bytes:
        """Return the CBOR."""
        receipts = [receipt.encode() for receipt in self.receipts]
        return replace(self.signed, unprotected={RECEIPTS: receipts}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a statement with its payload. Raises SealgateError(DOCUMENT_MALFORMED)."""
        signed = Sign1.decode(data)
        receipts = signed.unprotected.get(RECEIPTS)
        if signed.payload is None or not signed.claim(ISSUER) or not signed.claim(SUBJECT):
            raise malformed("a statement has a payload, an issuer and a subject")
        if not isinstance(receipts, list) or not 0 < len(receipts) <= _MOST_RECEIPTS:
            raise malformed(f"a transparent statement has 1 to {_MOST_RECEIPTS} receipts")
        if not all(isinstance(receipt, bytes) for receipt in receipts):
            raise malformed("a receipt is no byte string")
        return cls(signed, tuple(map(CoseReceipt.decode, receipts)))

    def verify(self, policy: Policy) -> tuple[int, Checkpoint]:
        """Check it against the policy, and return the entry's index and the tree that it is in.

        1. Its issuer is a log that the policy names (LOG_UNKNOWN).
        2. That log has issued one of the receipts, which holds for the payload: see
           `CoseReceipt.verify`. Receipts of others count for nothing here (PROOF_INVALID).
        3. The subject names this entry, and the content type its format (PROOF_INVALID).
        4. A key that the log had since the entry has signed the statement (SIGNATURE_INVALID).
        """
        # 1.
        origin = self.signed.claim(ISSUER)
        vkey = policy.log_key(origin)
        # 2.
        own = [receipt for receipt in self.receipts if receipt.issuer == origin]
        if not own:
            raise SealgateError(Reason.PROOF_INVALID, "no receipt is of the statement's own log")
        checkpoint = [receipt.verify(self.entry, policy) for receipt in own][-1]
        # 3.
        index = own[-1].index
        if self.signed.claim(SUBJECT) != _entry(origin, index) or (
            self.signed.header.get(CONTENT_TYPE) != content_type(self.entry)
        ):
            raise SealgateError(Reason.PROOF_INVALID, "the statement is about another entry")
        # 4.
        _verify_by_log(self.signed, vkey, index + 1)
        return index, checkpoint


def _verify_by_log(signed: Sign1, vkey: str, size: int, detached: bytes | None = None) -> None:
    for key in signing_keys(vkey, size):
        if key.keyid == signed.kid:
            return signed.verify(key, detached)
    detail = f"no key that the log had at {size} entries has signed"
    raise SealgateError(Reason.SIGNATURE_INVALID, f"COSE: {detail}")


def _read_proof(value: Any) -> tuple[int, int, tuple[bytes, ...]]:
    match value:
        case [int() as size, int() as index, [*hashes]] if (
            not isinstance(size, bool)
            and not isinstance(index, bool)
            and 0 <= index < size < _MOST_SIZE
            and 0 < len(hashes) <= _MOST_HASHES
            and _are_hashes(hashes)
        ):
            return size, index, tuple(hashes)
    raise malformed("an inclusion proof of another form")


def _are_hashes(values: Sequence[Any]) -> bool:
    return all(isinstance(each, bytes) and len(each) == merkle.HASH_SIZE for each in values)


def _tree(origin: str, size: int) -> str:
    return f"{origin}/tree/{size}"


def _entry(origin: str, index: int) -> str:
    return f"{origin}/entries/{index}"
