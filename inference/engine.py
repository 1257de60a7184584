"""The engine room: admits verified versions, keeps them warm, and answers.

`update` takes the registry's state, checks it from the pinned root keys, loads what is new and
then publishes an immutable table in one assignment. Requests read that table and never wait for an
update. A request that resolved a version before the table changed is answered by that version: it
holds it, and nothing shuts a version down but that nobody holds it any more. The version that an
alias named before stays loaded, so that returning to it is a matter of the next table.

What fails to load is reported and what was live goes on, until the last statement of freshness
that covered it, and the policy's grace, have run out. A revoked version stops at once.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy.typing as npt

from inference.admission import Source, clear, read_files
from inference.cpu import CpuSettings
from inference.live import EMPTY, Closed, Indexed, Live, Table
from inference.seen import Seen, SeenFile
from inference.standing import (
    Place,
    PolicyStanding,
    Snapshot,
    Standing,
    TrustAnchor,
    establish,
    establish_policies,
)
from inference.version import Answer, ReadyVersion
from sealgate.reasons import Reason, Refusal
from sealgate.trust.policy import Policy
from sealgate.trust.statements import PointerBundle
from sealgate.trust.times import parse_time

__all__ = [
    "Answer",
    "Engine",
    "Indexed",
    "Live",
    "Rejected",
    "Snapshot",
    "Source",
    "TrustAnchor",
    "Update",
]

# What may keep an engine from following a pointer though nothing is wrong with the one it follows.
_NOT_AGAINST_THE_POINTER = frozenset({Reason.POINTER_STALE, Reason.REGISTRY_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Rejected:
    """An alias whose newest pointer is not followed."""

    model: str
    alias: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Update:
    """What an update came to.

    `loaded` are the (model, alias) that now answer with another pointer. `refused` is why the
    state as a whole was not believed, if it was not.
    """

    loaded: tuple[Place, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    refused: Refusal | None = None


class Engine:
    """Answers with the versions that the registry's pointers prove. Safe for many threads."""

    def __init__(
        self,
        anchor: TrustAnchor,
        seen: SeenFile,
        clock: Callable[[], datetime],
        cpu: CpuSettings,
    ) -> None:
        """`clock` returns aware datetimes; `seen` is this engine's own file."""
        self._anchor = anchor
        self._seen = seen
        self._clock = clock
        self._cpu = cpu
        self._updating = threading.Lock()
        self._table = EMPTY
        self._ready: dict[str, ReadyVersion] = {}
        self._previous: dict[Place, str] = {}
        self._closed = False

    @property
    def policy(self) -> Policy | None:
        """The newest policy that was established, if any; it may have expired since."""
        return self._table.policy

    def live(self) -> Mapping[Place, Live]:
        """What every (model, alias) answers with."""
        return self._table.lives

    def resolve(self, model: str, version: int | None = None, alias: str | None = None) -> Live:
        """The version to answer a request, `production`'s where neither is given.

        Raises: MODEL_UNKNOWN, ALIAS_UNKNOWN, VERSION_NOT_LIVE, VERSION_REVOKED, POLICY_EXPIRED,
        POINTER_STALE.
        """
        return self._table.resolve(model, version, alias, self._clock().timestamp())

    def index(self) -> list[Indexed]:
        """Every version that a pointer names, and whether it answers."""
        return self._table.index(self._clock().timestamp())

    def infer(
        self,
        live: Live,
        x: npt.NDArray[Any],
        deadline: float | None = None,
        active: Callable[[], bool] | None = None,
        urgent: bool = False,
    ) -> Answer:
        """Screen and run the rows of `x` [n, …], float32, finite and of the model's row shape.

        `deadline` is in seconds of `time.monotonic`; `active` says whether the caller is there;
        `urgent` requests go first in the queue, within bounds.
        Raises: BATCH_TOO_LARGE, QUEUE_FULL, DEADLINE_TOO_SHORT, DRAINING, INTERNAL.
        """
        return live.ready.batcher.submit(x, deadline, active, urgent)

    def update(self, snapshot: Snapshot, source: Source) -> Update:
        """Bring what is live up to the registry's state. Refuses what it will not believe.

        1. Establish the policies; they are in force even where the rest is refused.
        2. Establish what is live now.
        3. Clear each pointer and load its version, unless it is loaded.
        4. Remember what was seen, on the disk, before anyone is answered by it.
        5. Publish the table, and let go of what no alias needs.
        """
        with self._updating:
            if self._closed:
                return Update(refused=Refusal(Reason.DRAINING))
            seen, now = self._seen.seen, self._clock()
            try:
                # 1.
                policies = establish_policies(self._anchor, snapshot.policies, seen, now)
                self._remember(policies.seen)
                self._publish(policies, self._table.lives, self._table.closed)
                # 2.
                standing = establish(policies, snapshot.freshness, now)
                self._remember(standing.seen)
                # 3.
                moves = _Moves(standing, self._table, self._previous, self._ready, self._cpu)
                for place in sorted({*snapshot.bundles, *moves.named()}):
                    moves.follow(place, snapshot.bundles.get(place), source)
                # 4.
                self._remember(moves.seen)
            except Refusal as refusal:
                return Update(refused=refusal)
            # 5.
            self._publish(policies, moves.lives, moves.closed)
            self._previous, self._ready = moves.previous, moves.kept()
            return Update(tuple(moves.loaded), tuple(moves.rejected))

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests with DRAINING and wait for those queued. False if time ran out."""
        with self._updating:
            self._closed = True
            end = None if timeout is None else time.monotonic() + timeout
            drained = True
            for ready in self._ready.values():
                left = None if end is None else max(0.0, end - time.monotonic())
                drained &= ready.batcher.close(left)
            return drained

    def _remember(self, seen: Seen) -> None:
        try:
            self._seen.save(seen)
        except OSError as error:
            raise Refusal(Reason.INTERNAL, f"cannot remember what was seen: {error}") from error

    def _publish(
        self, policies: PolicyStanding, lives: Mapping[Place, Live], closed: Mapping[Place, Closed]
    ) -> None:
        policy = policies.current
        expires, floor = parse_time(policy.expires), self._seen.seen.time
        self._table = Table.of(policy, expires.timestamp(), floor.timestamp(), lives, closed)


class _Moves:
    """One update's work on the table: what each alias answers with after it."""

    def __init__(
        self,
        standing: Standing,
        table: Table,
        previous: Mapping[Place, str],
        ready: Mapping[str, ReadyVersion],
        cpu: CpuSettings,
    ) -> None:
        self._standing = standing
        self._until = standing.until
        self._before = table
        self._ready = dict(ready)
        self._cpu = cpu
        self.seen = standing.seen
        self.previous = dict(previous)
        revoked = standing.seen.revoked
        self.lives = {p: live for p, live in table.lives.items() if live.digest not in revoked}
        self.closed = dict(table.closed) | {
            place: Closed(live.version, Reason.VERSION_REVOKED)
            for place, live in table.lives.items()
            if live.digest in revoked
        }
        self.loaded: list[Place] = []
        self.rejected: list[Rejected] = []

    def named(self) -> list[Place]:
        """The places that the statement of freshness names."""
        places = (name.partition("/") for name, _, _ in self._standing.freshness.pointers)
        return [(model, alias) for model, _, alias in places]

    def follow(self, place: Place, bundle: PointerBundle | None, source: Source) -> None:
        """Follow the place's newest pointer, or say why not."""
        try:
            if bundle is None:
                raise Refusal(Reason.POINTER_STALE, "a pointer that the statement names is missing")
            if not self._extend(place, bundle):
                self._move(place, bundle, source)
        except Exception as error:  # whatever a version's files do, the other aliases go on
            refusal = error if isinstance(error, Refusal) else Refusal(Reason.INTERNAL, repr(error))
            self.rejected.append(Rejected(*place, refusal.reason, refusal.detail))
            live = self.lives.get(place)
            # Under a newer policy the very pointer that is live may no longer hold.
            unmoved = live and bundle and live.pointer == bundle.pointer.payload_digest
            if unmoved and refusal.reason not in _NOT_AGAINST_THE_POINTER:
                del self.lives[place]
            self.closed.setdefault(place, Closed(0, Reason.VERSION_NOT_LIVE))

    def kept(self) -> dict[str, ReadyVersion]:
        """The loaded versions that an alias names or named last."""
        revoked = self.seen.revoked
        needed = {live.digest for live in self.lives.values()} | set(self.previous.values())
        return {d: ready for d, ready in self._ready.items() if d in needed - revoked}

    def _extend(self, place: Place, bundle: PointerBundle) -> bool:
        """Cover an unmoved pointer for longer. What cleared it once holds while the policy does."""
        live, digest = self.lives.get(place), bundle.pointer.payload_digest
        policy = self._standing.current.digest
        named = self._standing.freshness.pointer(*place)
        if live is None or live.pointer != digest or live.policy != policy or named is None:
            return False
        if named[1] != digest:
            return False
        self.lives[place] = replace(live, until=self._until)
        return True

    def _move(self, place: Place, bundle: PointerBundle, source: Source) -> None:
        cleared = clear(place, bundle, self._standing, self.seen, source)
        # An authentic pointer is remembered although its version may fail to load.
        self.seen = cleared.seen
        pointer = cleared.pointer
        try:
            cleared.check_not_revoked()
        except Refusal as refusal:
            self.lives.pop(place, None)
            self.closed[place] = Closed(pointer.version, refusal.reason)
            raise
        ready = self._ready.get(pointer.digest)
        if ready is None:
            files = read_files(cleared.manifest, source)
            ready = ReadyVersion.build(pointer.digest, files, self._cpu)
            self._ready[pointer.digest] = ready
        before = self.lives.get(place)
        if before is not None and before.digest != pointer.digest:
            self.previous[place] = before.digest
        self.lives[place] = Live(
            model=pointer.model,
            alias=pointer.alias,
            version=pointer.version,
            digest=pointer.digest,
            sequence=pointer.sequence,
            pointer=cleared.pointer_digest,
            policy=self._standing.current.digest,
            until=self._until,
            ready=ready,
        )
        if before is None or before.pointer != cleared.pointer_digest:
            self.loaded.append(place)
