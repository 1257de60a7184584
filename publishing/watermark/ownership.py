"""Whose a file is: what the owner shows an arbiter, and how the arbiter decides.

A proof opens the key of a mark and shows that a log held its commitment before there was a mark. It
is checked with the log's public key alone. Claims on one file are settled so:

1. The opened key, payload and digest are those that the log's entry commits to.
2. The file that was not marked yet is shown, and is the one committed to.
3. The disputed file reads the mark: z of 12 or more, after paying for all claims. A key that was
   searched for until it fits reads less.
4. The unmarked file does not read the claim's own mark.
5. The unmarked file reads no mark of another claim that holds up to here. Who writes over another's
   mark, or takes a mark of their own out of a marked file and calls the rest their original
   (Craver et al., IEEE JSAC 16, 1998), shows an original that carries the other's mark.
6. Of those that are left, the earliest entry of the log wins.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from publishing.watermark import payload as payloads
from publishing.watermark.detection import THRESHOLD
from publishing.watermark.key import SECRET_BYTES, Mark, WatermarkKey
from publishing.watermark.reading import Weights, read_code, weights_of
from publishing.watermark.records import MarkRecord, Slot, read_slots, write_slots
from sealgate.auditing.entries import Entry, prove
from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical, fields
from sealgate.trust.checkpoint import open_checkpoint
from sealgate.trust.digest import sha256
from sealgate.trust.proof import TlogProof

_TYPE = "sealgate/watermark-proof/v1"
_FIELDS = ("model", "secret", "payload", "unmarked", "worded", "slots", "entry", "proof")
_COMMITTED = "watermark.committed"
# What unrelated weights do not reach: one reading in 10^7.
_SILENT = 6.0


@dataclass(frozen=True, slots=True)
class OwnershipProof:
    """A mark with its key opened, the log's entry that commits to it, and the proof of that entry.

    Whoever reads it can take the marks of this key out: it is for an arbiter's eyes.
    """

    mark: Mark
    worded: bool
    slots: tuple[Slot, ...]
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
        """Read what `encode` wrote. Raises Refusal(DOCUMENT_MALFORMED)."""
        document = fields.record(canonical.decode(data), _FIELDS, kind=_TYPE)
        if type(document["worded"]) is not bool:
            raise fields.malformed("worded is true or false")
        secret = fields.unhex(document["secret"], SECRET_BYTES)
        return cls(
            Mark(
                WatermarkKey(fields.text(document["model"]), secret),
                fields.unhex(document["payload"], payloads.SIZE),
                fields.text(document["unmarked"]),
            ),
            document["worded"],
            read_slots(document["slots"]),
            fields.unbase64(document["entry"]),
            TlogProof.decode(fields.text(document["proof"], 1 << 16)),
        )

    def check(self, log_vkey: str) -> Entry:
        """The entry, if it commits to this very mark and the log of `log_vkey` holds it.

        Raises Refusal: SIGNATURE_INVALID, LOG_INCONSISTENT for another log's checkpoint,
        PROOF_INVALID, DOCUMENT_MALFORMED.
        """
        checkpoint = open_checkpoint(self.proof.checkpoint_note, log_vkey)
        prove(self.entry, self.proof.index, self.proof.hashes, checkpoint)
        entry = Entry.read(self.proof.index, self.entry)
        named = (entry.event, entry.subject, entry.body.get("commitment"))
        if named != (_COMMITTED, f"models/{self.mark.key.model}", self.mark.commitment):
            raise Refusal(Reason.PROOF_INVALID, "the entry commits to another mark, or to none")
        return entry


@dataclass(frozen=True, slots=True)
class Claim:
    """A proof, and the unmarked file with its name."""

    proof: OwnershipProof
    name: str
    unmarked: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a claim: the step at which it fell, or 0; in words; the entry and its time."""

    step: int
    why: str
    entry: int = -1
    time: str = ""
    z: float = 0.0


def settle(disputed: Weights, claims: Sequence[Claim], log_vkey: str) -> tuple[Finding, ...]:
    """A finding for each claim, at most one of which has step 0: the file's owner."""
    originals: list[Weights | None] = [None] * len(claims)
    findings = []
    for place, claim in enumerate(claims):
        finding, originals[place] = _alone(disputed, claim, log_vkey, len(claims))
        findings.append(finding)
    standing = [place for place, finding in enumerate(findings) if finding.step == 0]
    fallen: dict[int, Finding] = {}
    # 5.
    for place in standing:
        original = originals[place]
        for other in standing:
            if other == place or original is None:
                continue
            if _reads(original, claims[other].proof, len(claims)) >= THRESHOLD:
                entry = findings[other].entry
                why = f"its original carries the mark of entry {entry}"
                fallen[place] = _fall(findings[place], 5, why)
    # 6.
    left = [place for place in standing if place not in fallen]
    first = min(left, key=lambda place: findings[place].entry, default=None)
    for place in left:
        if place != first and first is not None:
            why = f"entry {findings[first].entry} is earlier"
            fallen[place] = _fall(findings[place], 6, why)
    return tuple(fallen.get(place, finding) for place, finding in enumerate(findings))


def _alone(
    disputed: Weights, claim: Claim, log_vkey: str, tries: int
) -> tuple[Finding, Weights | None]:
    """Steps 1 to 4."""
    # 1.
    try:
        entry = claim.proof.check(log_vkey)
    except Refusal as refusal:
        return Finding(1, f"the commitment does not hold: {refusal.reason.name}"), None
    # 2.
    if sha256(claim.unmarked) != claim.proof.mark.unmarked:
        return Finding(2, "the original is not the file committed to", entry.index), None
    z = _reads(disputed, claim.proof, tries)
    held = Finding(0, "the file is theirs", entry.index, entry.time, z)
    # 3.
    if z < THRESHOLD:
        return _fall(held, 3, f"the file reads z = {z:.1f}"), None
    # 4.
    original = weights_of(claim.name, claim.unmarked)
    own = _reads(original, claim.proof, tries)
    if own >= _SILENT:
        return _fall(held, 4, f"the original reads z = {own:.1f} already"), None
    return held, original


def _reads(weights: Weights, proof: OwnershipProof, tries: int) -> float:
    code = proof.mark.code(worded=proof.worded)
    return read_code(weights, code, proof.slots, tries).z


def _fall(finding: Finding, step: int, why: str) -> Finding:
    return Finding(step, why, finding.entry, finding.time, finding.z)
