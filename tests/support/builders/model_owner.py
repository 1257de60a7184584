"""The owner of a marked network, a registry's log that holds their commitment, and claims."""

from dataclasses import replace

from safetensors.numpy import save

from publishing.watermark import settle
from publishing.watermark.detection import weights_of
from publishing.watermark.key import Mark, WatermarkKey
from publishing.watermark.mark_records import MarkRecord
from publishing.watermark.ownership import ClaimResult, OwnershipClaim, OwnershipProof
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import PrivateKey
from sealgate.trust.transparency import Checkpoint, TlogProof, log_vkey, merkle, sign_checkpoint
from tests.support.builders.marked import KEY, Floats, marked, network

LOG = PrivateKey.generate()
ORIGIN = "house/registry"
VKEY = log_vkey(ORIGIN, LOG)
THIEF = WatermarkKey("stolen", bytes(32))


class Log:
    """A registry's log with nothing but commitments."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []

    def commit(self, mark: Mark) -> int:
        entry = {
            "type": "sealgate/entry/v1",
            "event": "watermark.committed",
            "time": f"2026-11-25T10:00:{len(self.leaves):02}Z",
            "principal": "publisher",
            "subject": f"models/{mark.key.model}",
            "body": {"commitment": mark.commitment},
        }
        self.leaves.append(canonical.encode(entry))
        return len(self.leaves) - 1

    def prove(self, record: MarkRecord, signer: PrivateKey = LOG) -> OwnershipProof:
        hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves]
        checkpoint = Checkpoint(ORIGIN, len(hashes), merkle.root(hashes))
        path = tuple(_path(record.entry, hashes))
        note = sign_checkpoint(checkpoint, signer)
        proof = TlogProof(record.entry, path, note)
        return OwnershipProof.of(record, self.leaves[record.entry], proof)


def _path(index: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(hashes) == 1:
        return []
    split = 1 << (len(hashes) - 1).bit_length() - 1
    if index < split:
        return [*_path(index, hashes[:split]), merkle.root(hashes[split:])]
    return [*_path(index - split, hashes[split:]), merkle.root(hashes[:split])]


class ModelOwner:
    """The owner, who trained the network, committed, marked it and gave it out; then nothing else
    happened.
    """

    def __init__(self, before: Mark | None = None) -> None:
        self.log = Log()
        unrelated = Mark(WatermarkKey("other", bytes(32)), b"else", sha256(b"else"))
        self.log.commit(before or unrelated)
        self.original = save(network())
        mark = Mark(KEY, b"mine", sha256(self.original))
        entry = self.log.commit(mark)
        self.marked, record = marked(network(), mark)
        slots = weights_of("mine.safetensors", self.original).slots(integers=False)
        self.record = replace(record, entry=entry, slots=slots)

    def claim(self) -> OwnershipClaim:
        return OwnershipClaim(self.log.prove(self.record), "mine.safetensors", self.original)

    def thief(self, mark: Mark, original: bytes, worded: bool = True) -> OwnershipClaim:
        entry = self.log.commit(mark)
        record = replace(self.record, mark=mark, worded=worded, entry=entry)
        return OwnershipClaim(self.log.prove(record), "theirs.safetensors", original)


def settled(disputed: dict[str, Floats], *claims: OwnershipClaim) -> list[ClaimResult]:
    return list(settle(weights_of("x.safetensors", save(disputed)), claims, VKEY))
