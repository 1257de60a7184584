"""Checkpoints of logs, witnesses' cosignatures of them, and inclusion proofs as text.

The formats are C2SP's: tlog-checkpoint, tlog-cosignature and tlog-proof.

A witness's cosignature says: "I saw this checkpoint, and none that contradicts it, at this time".
It is one more line below a checkpoint, of type 0x04: eight bytes of the time in seconds, then an
Ed25519 signature over `cosignature/v1`, the time, and the checkpoint's text.
"""

import base64
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.keys import ED25519, PublicKey, Signer
from sealgate.trust.transparency import merkle, ml_dsa, note
from sealgate.trust.transparency.ml_dsa import Cosigner, PairedSigner

_UP_TO = " up to "
_KEPT = 32
_TYPE = b"\x04"
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: `size` entries under the 32-byte `root`."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        note.check_name(self.origin)
        fields.integer(self.size)
        if len(self.root) != 32:
            raise fields.malformed("a root hash has 32 bytes")

    def text(self) -> str:
        """The note's text: three lines."""
        root = base64.b64encode(self.root).decode("ascii")
        return f"{self.origin}\n{self.size}\n{root}\n"

    def cosigned(self) -> bytes:
        """Return the message that an ML-DSA-44 key signs for this checkpoint."""
        return ml_dsa.cosigned_message(self.origin, self.size, self.root)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `text` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        lines = text.split("\n")
        if len(lines) != 4 or not lines[1].isdecimal() or len(lines[1]) > 16:
            raise fields.malformed("a checkpoint has three lines")
        checkpoint = cls(lines[0], int(lines[1]), fields.unbase64(lines[2]))
        if checkpoint.text() != text:
            raise fields.malformed("a checkpoint in another spelling")
        return checkpoint


def log_vkey(origin: str, signer: Signer) -> str:
    """The verifier key text of a log; of a `PairedSigner`, both of its keys with a blank between;
    of a `RotatingSigner`, a line for each of its keys: once handed over, the former one vouches for
    no more entries than there were then.

    Raises SealgateError(DOCUMENT_MALFORMED) as `note.vkey` does.
    """
    if isinstance(signer, RotatingSigner):
        current, other = (log_vkey(origin, each) for each in signer.signers)
        return f"{current}\n{former_line(other, signer.handed_over_at)}"
    vkey = note.vkey(origin, signer.public)
    if isinstance(signer, PairedSigner):
        return f"{vkey} {ml_dsa.vkey(origin, signer.beside.raw)}"
    return vkey


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """The signed note, under the origin's own name; by a `PairedSigner`, with both signatures."""
    return CheckpointSigner(checkpoint.origin, signer).sign(checkpoint.size, checkpoint.root)


class CheckpointSigner:
    """Signs the checkpoints of one log. The parts that do not depend on the tree are prepared once.

    Raises SealgateError(DOCUMENT_MALFORMED) for an origin that a note cannot have, and for another
    kind of key.
    """

    def __init__(self, origin: str, signer: Signer) -> None:
        held = signer.signers[0] if isinstance(signer, RotatingSigner) else signer
        self._origin = origin
        self._notes = note.NoteSigner(origin, held)
        self._beside = held.beside if isinstance(held, PairedSigner) else None

    def sign(self, size: int, root: bytes) -> str:
        """The signed note, as `sign_checkpoint` makes it."""
        encoded = base64.b64encode(root).decode("ascii")
        signed = self._notes.sign(f"{self._origin}\n{size}\n{encoded}\n")
        if self._beside is not None:
            message = ml_dsa.cosigned_message(self._origin, size, root)
            signed += self._beside.line(self._origin, message)
        return signed


def open_checkpoint(signed: str, vkey: str) -> Checkpoint:
    """The checkpoint of a note that the log's own key has signed, or both where `vkey` has both.

    Each further line of `vkey` is a former key (see `former_line`), which may have signed instead.
    Raises SealgateError: SIGNATURE_INVALID, DOCUMENT_MALFORMED; LOG_INCONSISTENT for another log's.
    """
    current, *former = fields.text(vkey).split("\n")
    try:
        return _open(signed, current)
    except SealgateError as refusal:
        for line in former:
            with suppress(SealgateError):
                return _open_former(signed, line)
        raise refusal


def former_line(vkey: str, size: int | None = None) -> str:
    """A line for a former key, which vouches for checkpoints of at most `size` entries."""
    return vkey if size is None else f"{vkey}{_UP_TO}{size}"


def signing_keys(vkey: str, size: int) -> list[PublicKey]:
    """The Ed25519 keys that may have signed the tree of `size` entries; `vkey` is as
    `open_checkpoint` takes it. Raises SealgateError(DOCUMENT_MALFORMED).
    """
    keys = []
    for line in vkey.split("\n"):
        names, _, most = line.partition(_UP_TO)
        if not most or size <= int(most):
            keys.append(note.Verifier.from_vkey(names.partition(" ")[0]).key)
    return keys


def current_vkey(vkey: str) -> str:
    """The first line of what `open_checkpoint` takes: what signs now."""
    return vkey.partition("\n")[0]


def origin_of(vkey: str) -> str:
    """The origin of the log that verifier keys are of. Raises SealgateError(DOCUMENT_MALFORMED)."""
    return note.Verifier.from_vkey(current_vkey(vkey).partition(" ")[0]).name


def _open_former(signed: str, line: str) -> Checkpoint:
    vkey, _, size = line.partition(_UP_TO)
    checkpoint = _open(signed, vkey)
    if size and checkpoint.size > int(size):
        raise SealgateError(Reason.SIGNATURE_INVALID, f"a former key signed beyond {size} entries")
    return checkpoint


# A reader of many receipts finds most of them under one checkpoint.
@lru_cache(_KEPT)
def _open(signed: str, vkey: str) -> Checkpoint:
    vkey, _, beside = vkey.partition(" ")
    verifier = note.Verifier.from_vkey(vkey)
    checkpoint = Checkpoint.parse(note.open_note(signed, (verifier,)))
    if checkpoint.origin != verifier.name:
        raise SealgateError(Reason.LOG_INCONSISTENT, "a checkpoint of another log")
    if beside:
        Cosigner.from_vkey(beside).check(signed, checkpoint.cosigned())
    return checkpoint


class RotatingSigner:
    """A log's key with the one that follows it. It is a `Signer`, by the one that signs now."""

    def __init__(self, signer: Signer, successor: Signer) -> None:
        self._signer, self._other = signer, successor
        self.handed_over_at: int | None = None
        """How many entries the log had when it was handed over; None before."""

    @property
    def public(self) -> PublicKey:
        return self._signer.public

    @property
    def signers(self) -> tuple[Signer, Signer]:
        """The key that signs now, and the one that follows, or after the hand-over the former."""
        return self._signer, self._other

    def sign(self, message: bytes) -> bytes:
        return self._signer.sign(message)

    @property
    def is_handed_over(self) -> bool:
        return self.handed_over_at is not None

    def hand_over(self, size: int) -> None:
        """Sign with the successor from now on, when the log has `size` entries."""
        if not self.is_handed_over:
            self._signer, self._other = self._other, self._signer
            self.handed_over_at = size


TLOG_PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_MOST_HASHES = 64


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An entry's index, the 32-byte hashes of its inclusion proof, and the signed checkpoint.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint_note: str

    def __post_init__(self) -> None:
        fields.integer(self.index)
        if len(self.hashes) > _MOST_HASHES:
            raise fields.malformed("a proof with more hashes than any tree is high")
        if any(len(item) != merkle.HASH_SIZE for item in self.hashes):
            raise fields.malformed("a hash of a proof has not 32 bytes")

    def encode(self) -> str:
        """Return the text."""
        lines = [TLOG_PROOF_HEADER, f"index {self.index}"]
        lines += [base64.b64encode(item).decode("ascii") for item in self.hashes]
        return "\n".join([*lines, "", self.checkpoint_note])

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read what `encode` writes; `extra` lines are not accepted.

        Raises SealgateError(DOCUMENT_MALFORMED).
        """
        head, _, note = text.partition("\n\n")
        header, _, rest = head.partition("\n")
        position, *hashes = rest.split("\n")
        digits = position.removeprefix("index ")
        if header != TLOG_PROOF_HEADER or not (
            digits.isascii() and digits.isdigit() and len(digits) < 17
        ):
            raise fields.malformed("not a tlog-proof")
        proof = cls(int(digits), tuple(fields.unbase64(item) for item in hashes), note)
        if proof.encode() != text:
            raise fields.malformed("a tlog-proof in another spelling")
        return proof


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness's name with its Ed25519 key; `hint` is the four bytes that stand for both."""

    name: str
    key: PublicKey
    hint: bytes

    @classmethod
    def of(cls, name: str, key: PublicKey) -> Self:
        """Raises SealgateError(DOCUMENT_MALFORMED) for a name or key that a note cannot have."""
        if key.scheme != ED25519:
            raise fields.malformed("witnesses sign with Ed25519 keys")
        return cls(name, key, note.key_hint(name, _TYPE, key.raw))

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """Read `name+hint+key`, of type 0x04. Raises SealgateError(DOCUMENT_MALFORMED)."""
        name, raw = note.read_vkey(text, _TYPE)
        return cls.of(name, PublicKey.from_raw(raw))

    @property
    def vkey(self) -> str:
        """The verifier key text (C2SP)."""
        return note.write_vkey(self.name, _TYPE, self.key.raw)


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified cosignature: whose, when (seconds since 1970), its line without the newline."""

    witness: str
    time: int
    line: str


def cosign(text: str, name: str, signer: Signer, time: int) -> str:
    """Return the line, with its newline, by which a witness says that it saw a checkpoint's text.

    Raises SealgateError(DOCUMENT_MALFORMED) for a name or key that a note cannot have.
    """
    witness = WitnessKey.of(name, signer.public)
    signature = time.to_bytes(_TIME_BYTES, "big") + signer.sign(_message(text, time))
    encoded = base64.b64encode(witness.hint + signature).decode("ascii")
    return f"\u2014 {name} {encoded}\n"


def verified(text: str, lines: Iterable[str], witnesses: Sequence[WitnessKey]) -> list[Cosignature]:
    """Return the cosignatures of these witnesses among a note's signature lines, one for each key.

    Lines of others count for nothing. Raises SealgateError: SIGNATURE_INVALID for a witness's line
    that does not verify; DOCUMENT_MALFORMED for what is no line, or for two lines of one key.
    """
    known = {(witness.name, witness.hint): witness for witness in witnesses}
    found: dict[bytes, Cosignature] = {}
    for line in lines:
        name, hint, signature = note.read_line(line)
        witness = known.get((name, hint))
        if witness is None:
            continue
        if witness.key.raw in found:
            raise fields.malformed("a witness has signed twice")
        if len(signature) != _TIME_BYTES + _SIGNATURE_BYTES:
            raise SealgateError(Reason.SIGNATURE_INVALID, "a cosignature of another length")
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        witness.key.verify(signature[_TIME_BYTES:], _message(text, time))
        found[witness.key.raw] = Cosignature(name, time, line)
    return list(found.values())


def cosignatures(signed: str, witnesses: Sequence[WitnessKey]) -> list[Cosignature]:
    """Return the verified cosignatures that a note carries. Raises like `verified`."""
    text, lines = note.split(signed)
    return verified(text, lines, witnesses)


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
