"""Recomputes a log's tree from its entries and compares it with every signed checkpoint of it.

Time stamps are verified too, by an authority that the auditor pins.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc

from sealgate.reasons import Reason, SealgateError
from sealgate.trust.times import CLOCK_SKEW, format_time
from sealgate.trust.timestamps import Timestamp, TimestampAuthority
from sealgate.trust.transparency import Checkpoint, open_checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey, cosignatures
from sealgate.trust.transparency.merkle import EMPTY_ROOT, HASH_SIZE, leaf_hash
from sealgate.trust.transparency.tiles import HEIGHT, Frontier
from sealgate.v1.log_pb2 import GetCheckpointResponse, StreamTimestampsRequest
from sealgate.v1.log_pb2_grpc import LogServiceStub


@dataclass(frozen=True, slots=True)
class Claim:
    """That the log's first `size` entries have this root; `by` says who signed that."""

    size: int
    root: bytes
    by: str


class TreeCheck:
    """Takes the entries of the log `origin` in order, and keeps its right edge alone.

    Raises SealgateError(LOG_INCONSISTENT) as soon as a claim or a stored hash contradicts the
    entries.
    """

    def __init__(self, origin: str, claims: Iterable[Claim]) -> None:
        self.origin = origin
        self._claims = sorted(claims, key=lambda claim: claim.size, reverse=True)
        self._frontier = Frontier.empty()
        # Of levels above the leaves: a 256th of all hashes.
        self._upper: dict[tuple[int, int], bytes] = {}
        while self._claims and not self._claims[-1].size:
            self._compare(self._claims.pop(), EMPTY_ROOT)

    @property
    def size(self) -> int:
        return self._frontier.size

    def add(self, leaves: Sequence[bytes], stored: bytes) -> None:
        """Add entries, and the leaf hashes that the log keeps of them, one after the other."""
        hashes = [leaf_hash(leaf) for leaf in leaves]
        if b"".join(hashes) != stored:
            first = next(
                at
                for at, found in enumerate(hashes)
                if stored[at * HASH_SIZE : (at + 1) * HASH_SIZE] != found
            )
            raise self._inconsistent(f"the stored hash of entry {self.size + first} is another")
        self.add_hashes(hashes)

    def add_hashes(self, hashes: Sequence[bytes]) -> None:
        """Add entries of which only the hashes are kept."""
        at = 0
        while at < len(hashes):
            end = len(hashes)
            if self._claims:
                end = min(end, at + self._claims[-1].size - self.size)
            self._frontier = self._frontier.append(hashes[at:end])
            for tile in self._frontier.tiles:
                if tile.level:
                    self._upper[tile.level, tile.index] = tile.hashes
            at = end
            while self._claims and self._claims[-1].size == self.size:
                self._compare(self._claims.pop(), self._frontier.root)

    def finish(self, stored: Callable[[int, int], Iterator[bytes] | None]) -> bool:
        """Check that no claim is left, and compare the hashes above the leaves.

        `stored` has those of a level of tiles, so many, or None where they cannot be had; then
        this returns False.
        """
        check_sizes(self.origin, self._claims, self.size)
        level = 1
        while count := self.size >> (HEIGHT * level):
            parts = stored(level, count)
            if parts is None:
                return False
            found = b"".join(parts)
            tiles = sorted(key for key in self._upper if key[0] == level)
            if found != b"".join([self._upper[key] for key in tiles]):
                raise self._inconsistent(f"a stored hash of level {level} is another")
            level += 1
        return True

    def _compare(self, claim: Claim, root: bytes) -> None:
        if claim.root != root:
            raise self._inconsistent(
                f"the entries give another root than {claim.by}, of {claim.size} entries"
            )

    def _inconsistent(self, detail: str) -> SealgateError:
        return SealgateError(Reason.LOG_INCONSISTENT, f"{self.origin}: {detail}")


def check_sizes(origin: str, claims: Iterable[Claim], size: int) -> None:
    """Check that nobody has seen more entries than there are. Raises
    SealgateError(LOG_INCONSISTENT).
    """
    most = max(claims, key=lambda claim: claim.size, default=None)
    if most is not None and most.size > size:
        detail = f"{origin} has {size} entries, and {most.by} says {most.size}: it was replaced, "
        raise SealgateError(Reason.LOG_INCONSISTENT, f"{detail}cut short or put back")


class StoredHashes:
    """Hashes that come in parts of any length, to be taken in others."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._left = b""

    def take(self, count: int) -> bytes:
        """Return the next so many hashes, or what there is of them."""
        data = [self._left]
        size = len(self._left)
        while size < count * HASH_SIZE:
            part = next(self._parts, b"")
            if not part:
                break
            data.append(part)
            size += len(part)
        joined = b"".join(data)
        self._left = joined[count * HASH_SIZE :]
        return joined[: count * HASH_SIZE]


@dataclass(frozen=True, slots=True)
class WitnessedTree:
    """The witnesses that have cosigned a log's tree, by name, and what they say of it.

    `without` are those that were asked for and have not cosigned it.
    """

    names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    claim: Claim | None = None


def read_witnessed(
    note: str, origin: str, vkey: str, witnesses: Sequence[WitnessKey], threshold: int
) -> WitnessedTree:
    """Return what witnesses say in the newest note that they have cosigned: the log has signed it
    (SIGNATURE_INVALID), and so have `threshold` of these (WITNESSES_TOO_FEW).

    Without witnesses that are asked for, nothing is found. Raises SealgateError.
    """
    if not witnesses:
        return WitnessedTree()
    asked = {witness.name for witness in witnesses}
    if not note:
        if threshold:
            raise SealgateError(Reason.WITNESSES_TOO_FEW, f"none has cosigned {origin}")
        return WitnessedTree(without=tuple(sorted(asked)))
    checkpoint = open_checkpoint(note, vkey)
    names = tuple(cosignature.witness for cosignature in cosignatures(note, witnesses))
    without = tuple(sorted(asked - set(names)))
    if len(names) < threshold:
        detail = f"{len(names)} of {threshold} for {origin}; without {', '.join(without)}"
        raise SealgateError(Reason.WITNESSES_TOO_FEW, detail)
    claim = Claim(checkpoint.size, checkpoint.root, "what witnesses cosigned")
    return WitnessedTree(names, without, claim if names else None)


@dataclass(frozen=True, slots=True)
class StampAuthority:
    """The authority whose stamps are asked for, and the time now."""

    authority: TimestampAuthority
    now: datetime


@dataclass(frozen=True, slots=True)
class CheckedStamps:
    """The claims in the time stamps of a log; how many entries the newest is of, and its time in
    text.
    """

    claims: tuple[Claim, ...] = ()
    size: int = 0
    time: str = ""


def check_stamps(
    logs: LogServiceStub, origin: str, vkey: str, asked: StampAuthority | None
) -> CheckedStamps:
    """Check each stamp that the gateway keeps of a log; none where no authority is asked for.

    1. Its checkpoint is this log's, signed by a key of `vkey` (SIGNATURE_INVALID,
       LOG_INCONSISTENT).
    2. The authority has stamped that note; see `TimestampAuthority.verify`.
    3. Its time is not to come (TIMESTAMP_MISMATCH).

    That the log extends what was stamped, the claims are for.
    """
    if asked is None:
        return CheckedStamps()
    claims, newest = [], CheckedStamps()
    for stamp in kept_stamps(logs, origin):
        # 1.
        checkpoint = open_checkpoint(stamp.note, vkey)
        # 2.
        time = asked.authority.verify(stamp)
        # 3.
        if time > asked.now + CLOCK_SKEW:
            raise SealgateError(Reason.TIMESTAMP_MISMATCH, f"{origin}: a stamp of {time}")
        told = format_time(time)
        claims.append(Claim(checkpoint.size, checkpoint.root, f"the time stamp of {told}"))
        if told >= newest.time:
            newest = CheckedStamps((), checkpoint.size, told)
    return CheckedStamps(tuple(claims), newest.size, newest.time)


def kept_stamps(logs: LogServiceStub, origin: str) -> list[Timestamp]:
    """The stamps that the gateway keeps of a log, unchecked. Raises grpc.RpcError."""
    try:
        found = list(logs.StreamTimestamps(StreamTimestampsRequest(origin=origin)))
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            # A gateway of an earlier release keeps none.
            return []
        raise
    return [Timestamp(each.note, each.stamp) for each in found]


@dataclass(frozen=True, slots=True)
class LogFinding:
    """A log whose every entry was hashed again and led to the signed root.

    Of the entries before `first`, which were pruned, only the hashes that the log keeps were.
    `witnesses` have cosigned a checkpoint of `witnessed` entries, which the log extends; those
    `without` have cosigned none. It extends `anchors` anchors in the registry's log, the newest of
    `anchored` entries. `whole` says whether the kept hashes above the leaves were compared too.
    Entries before `known` were verified earlier, and only their hashes were read. `note` is the
    checkpoint as it was signed. It extends `stamps` time stamps, the newest of `stamped` entries at
    `stamped_time`.
    """

    origin: str
    size: int
    root: str
    first: int = 0
    witnesses: tuple[str, ...] = ()
    witnessed: int = 0
    without: tuple[str, ...] = ()
    anchors: int = 0
    anchored: int = 0
    whole: bool = True
    known: int = 0
    note: str = ""
    stamps: int = 0
    stamped: int = 0
    stamped_time: str = ""

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        found: GetCheckpointResponse,
        seen: WitnessedTree,
        anchors: Sequence[Claim],
        stamps: CheckedStamps,
    ) -> "LogFinding":
        """Joins the checked claims of a log into one finding."""
        return cls(
            origin=checkpoint.origin,
            size=checkpoint.size,
            root=checkpoint.root.hex(),
            first=found.first,
            witnesses=seen.names,
            witnessed=seen.claim.size if seen.claim else 0,
            without=seen.without,
            anchors=len(anchors),
            anchored=max((claim.size for claim in anchors), default=0),
            note=found.note,
            stamps=len(stamps.claims),
            stamped=stamps.size,
            stamped_time=stamps.time,
        )
