"""Ownership of a file: what an owner shows an arbiter, and how the arbiter decides.

A proof opens the key of a mark and shows that a log held its commitment before the mark existed. It
is checked with the log's public key alone. Claims on one file are settled as follows:

1. The opened key, payload and digest match the commitment of the log's entry.
2. The unmarked file is shown and is the one committed to. The mark lies in all of its floats, or in
   all of its integers: weights chosen afterwards would prove nothing.
3. The mark is read in the disputed file: z of at least 12, blind or aligned to the unmarked file,
   corrected for every way of reading it and for all claims. A key found by search reads less.
4. The disputed file derives from the unmarked one: half of the weights match its own, aligned if
   necessary. A mark of something else, committed to beforehand and written over ours, fails here.
5. The claim's own mark is not read in the unmarked file.
6. No mark of another claim that holds so far is read in the unmarked file. A claimant who wrote
   over another's mark, or who removed their own mark from a marked file and calls the rest the
   original (Craver et al., IEEE JSAC 16, 1998), shows an original that carries the other's mark.
7. Of the remaining claims, the earliest entry of the log wins.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from publishing.watermark import key as payloads
from publishing.watermark.aligned_detection import aligned_to
from publishing.watermark.correlation import Floats
from publishing.watermark.detection import (
    MARK_THRESHOLD,
    FileWeights,
    detection_of,
    read_code,
    weights_of,
)
from publishing.watermark.key import MARK_SECRET_BYTES, Mark, WatermarkCode, WatermarkKey
from publishing.watermark.mark_records import MarkRecord, WeightSlot, read_slots, write_slots
from sealgate.audit import ProvedEntry, prove_entry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import sha256
from sealgate.trust.transparency import TlogProof, open_checkpoint

_TYPE = "sealgate/watermark-proof/v1"
_FIELDS = ("model", "secret", "payload", "unmarked", "worded", "slots", "entry", "proof")
_COMMITTED = "watermark.committed"
# Unrelated weights reach this once in 10^7 readings.
_SILENT = 6.0
# With a payload or by presence, in floats or in integers, blind or aligned.
_WAYS = 8
# The share of the original's weights that are found in what was made of it.
_MADE_OF = 0.5


@dataclass(frozen=True, slots=True)
class OwnershipProof:
    """A mark with its key opened, the log's entry that commits to it, and the proof of that entry.

    A reader of it can remove the marks of this key: it is for an arbiter alone.
    """

    mark: Mark
    worded: bool
    slots: tuple[WeightSlot, ...]
    entry: bytes
    proof: TlogProof

    @classmethod
    def of(cls, record: MarkRecord, entry: bytes, proof: TlogProof) -> "OwnershipProof":
        return cls(record.mark, record.worded, record.slots, entry, proof)

    def encode(self) -> bytes:
        """Return canonical JSON."""
        return canonical.encode(
            {
                "type": _TYPE,
                "model": self.mark.key.model,
                "secret": self.mark.key.secret.hex(),
                "payload": self.mark.payload.hex(),
                "unmarked": self.mark.unmarked,
                "worded": self.worded,
                "slots": write_slots(self.slots),
                "entry": base64.b64encode(self.entry).decode(),
                "proof": self.proof.encode(),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> "OwnershipProof":
        """Read what `encode` wrote. Raises SealgateError(DOCUMENT_MALFORMED)."""
        document = fields.record(canonical.decode(data), _FIELDS, kind=_TYPE)
        if type(document["worded"]) is not bool:
            raise fields.malformed("worded is true or false")
        secret = fields.unhex(document["secret"], MARK_SECRET_BYTES)
        return cls(
            Mark(
                WatermarkKey(fields.text(document["model"]), secret),
                fields.unhex(document["payload"], payloads.MARK_PAYLOAD_BYTES),
                fields.text(document["unmarked"]),
            ),
            document["worded"],
            read_slots(document["slots"]),
            fields.unbase64(document["entry"]),
            TlogProof.decode(fields.text(document["proof"], 1 << 16)),
        )

    def check(self, log_vkey: str) -> ProvedEntry:
        """The entry, if it commits to this very mark and the log of `log_vkey` holds it.

        Raises SealgateError: SIGNATURE_INVALID, LOG_INCONSISTENT for another log's checkpoint,
        PROOF_INVALID, DOCUMENT_MALFORMED.
        """
        checkpoint = open_checkpoint(self.proof.checkpoint_note, log_vkey)
        prove_entry(self.entry, self.proof.index, self.proof.hashes, checkpoint)
        entry = ProvedEntry.read(self.proof.index, self.entry)
        named = (entry.event, entry.subject, entry.body.get("commitment"))
        if named != (_COMMITTED, f"models/{self.mark.key.model}", self.mark.commitment):
            raise SealgateError(
                Reason.PROOF_INVALID, "the entry commits to another mark, or to none"
            )
        return entry


@dataclass(frozen=True, slots=True)
class OwnershipClaim:
    """A proof, and the unmarked file with its name."""

    proof: OwnershipProof
    name: str
    unmarked: bytes


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """The result of a claim: the step at which it failed, or 0; in words; the entry, its time."""

    step: int
    why: str
    entry: int = -1
    time: str = ""
    z: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _OpenClaim:
    """A claim that has passed steps 1 to 5: its code and slots, its original, and that one's
    weights, slot by slot.
    """

    code: WatermarkCode
    slots: tuple[WeightSlot, ...]
    original: FileWeights
    values: list[Floats]

    @property
    def tables(self) -> list[Floats]:
        """The original's weights beside the marked ones."""
        marked = {slot.name for slot in self.slots}
        return [each.values for each in self.original.ordered if each.name not in marked]

    def read(self, weights: FileWeights, tries: int) -> tuple[float, float]:
        """The mark's z, and the share of its weights that are kin to some of these weights."""
        tries *= _WAYS
        blind = read_code(weights, self.code, self.slots, tries)
        paired = aligned_to(weights, self.code, self.values, self.tables)
        aligned = detection_of(paired, self.code, math.log(tries))
        kin = sum(each.values.size for each in paired)
        return max(blind.z, aligned.z), kin / sum(values.size for values in self.values)


def settle(
    disputed: FileWeights, claims: Sequence[OwnershipClaim], log_vkey: str
) -> tuple[ClaimResult, ...]:
    """A finding for each claim, at most one of which has step 0: the file's owner."""
    tries = len(claims)
    settled = [_alone(disputed, claim, log_vkey, tries) for claim in claims]
    findings = [finding for finding, _ in settled]
    open_claims = {place: kept for place, (_, kept) in enumerate(settled) if kept is not None}
    # 6.
    left = []
    for place, own in open_claims.items():
        over = (n for n, other in open_claims.items() if n != place and _carries(own, other, tries))
        other = next(over, None)
        if other is None:
            left.append(place)
        else:
            why = f"its original carries the mark of entry {findings[other].entry}"
            findings[place] = replace(findings[place], step=6, why=why)
    # 7.
    first = min(left, key=lambda place: findings[place].entry, default=None)
    for place in left:
        if first is not None and place != first:
            why = f"entry {findings[first].entry} is earlier"
            findings[place] = replace(findings[place], step=7, why=why)
    return tuple(findings)


def _alone(
    disputed: FileWeights, claim: OwnershipClaim, log_vkey: str, tries: int
) -> tuple[ClaimResult, _OpenClaim | None]:
    """Steps 1 to 5."""
    mark, slots = claim.proof.mark, claim.proof.slots
    # 1.
    try:
        entry = claim.proof.check(log_vkey)
    except SealgateError as refusal:
        return ClaimResult(1, f"the commitment does not hold: {refusal.reason.name}"), None
    held = ClaimResult(0, "the file is theirs", entry.index, entry.time)
    # 2.
    if sha256(claim.unmarked) != mark.unmarked:
        return replace(held, step=2, why="the original is not the file committed to"), None
    try:
        original = weights_of(claim.name, claim.unmarked)
    except SealgateError as refusal:
        return replace(held, step=2, why=f"the original: {refusal.reason.name}"), None
    if not slots or all(slots != original.slots(integers=kind) for kind in (False, True)):
        return replace(held, step=2, why="the mark lies in other weights than the original's"), None
    by_name = {each.name: each.values for each in original.ordered}
    values = [by_name[slot.name] for slot in slots]
    opened = _OpenClaim(mark.code(worded=claim.proof.worded), slots, original, values)
    # 3.
    z, kin = opened.read(disputed, tries)
    held = replace(held, z=z)
    if z < MARK_THRESHOLD:
        return replace(held, step=3, why=f"the file reads z = {z:.1f}"), None
    # 4.
    if kin < _MADE_OF:
        return replace(held, step=4, why=f"{kin:.0%} of the original is in the file"), None
    # 5.
    own, _ = opened.read(original, tries)
    if own >= _SILENT:
        return replace(held, step=5, why=f"the original reads z = {own:.1f} already"), None
    return held, opened


def _carries(own: _OpenClaim, other: _OpenClaim, tries: int) -> bool:
    """Whether the original of one claim carries the mark of another."""
    z, _ = other.read(own.original, tries)
    return z >= MARK_THRESHOLD
