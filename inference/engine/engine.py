"""The engine: loads verified versions, keeps them warm and answers requests.

`update` takes the registry's state, verifies it from the pinned root keys, loads what is new and
publishes an immutable table in one assignment. Requests read the table and never wait for an
update. A request keeps the version that it resolved, even if the table changes meanwhile; a version
is released when nothing refers to it any more. The version that an alias named before stays loaded,
so a rollback only needs a new table. An engine that started after the promotion loads the previous
version with `warm`.

If a version fails to load, the failure is reported and the live one continues to answer, until the
last freshness statement that covered it, plus the policy's grace, has expired. A revoked version
stops at once.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy.typing as npt

from inference.batching import DEFAULT_OPTIONS, RequestOptions
from inference.engine.live_table import (
    EMPTY,
    ClosedAlias,
    IndexedVersion,
    LiveTable,
    LiveVersion,
    PartedVersion,
    ServableVersion,
)
from inference.engine.result import InferenceResult
from inference.engine.table_update import RejectedPointer, TableUpdate, VersionLoader
from inference.engine.trust_state import (
    Place,
    PolicyState,
    RollbackGuard,
    RollbackGuardFile,
    TrustAnchor,
    UntrustedSnapshot,
    establish,
    establish_policies,
)
from inference.engine.version_verifier import Source
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy
from sealgate.trust.times import parse_time


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """The outcome of an update.

    `loaded` are the (model, alias) that now answer with another pointer. `refused` is why the whole
    state was refused, or None.
    """

    loaded: tuple[Place, ...] = ()
    rejected: tuple[RejectedPointer, ...] = ()
    refused: SealgateError | None = None


class Engine:
    """Answers with the versions that verified pointers name. Safe for many threads."""

    def __init__(
        self,
        anchor: TrustAnchor,
        seen: RollbackGuardFile,
        clock: Callable[[], datetime],
        loader: VersionLoader,
    ) -> None:
        """`clock` returns aware datetimes; `seen` is this engine's rollback guard; `loader` loads
        verified versions, in this process or in another.
        """
        self._anchor = anchor
        self._seen = seen
        self._clock = clock
        self._loader = loader
        self._updating = threading.Lock()
        self._table = EMPTY
        self.ready_versions: dict[str, ServableVersion] = {}
        self.previous: dict[Place, str] = {}
        self._closed = False

    @property
    def policy(self) -> Policy | None:
        """The newest verified policy, or None; it may have expired since."""
        return self._table.policy

    def policy_in_force(self) -> Policy:
        """The newest verified policy. Raises: POLICY_INVALID where none could be established."""
        policy = self._table.policy
        if policy is None:
            raise SealgateError(Reason.POLICY_INVALID, "none could be established")
        return policy

    @property
    def expired(self) -> str:
        """When the newest policy expired; empty before. Its grace may still run."""
        policy = self._table.policy
        if policy is None:
            return ""
        now = self._seen.seen.now(self._clock())
        return policy.expires if now >= parse_time(policy.expires) else ""

    @property
    def is_over(self) -> bool:
        """Whether nothing is answered because the policy and its grace have expired."""
        table = self._table
        return max(self._clock().timestamp(), table.floor) >= table.policy_until

    def live(self) -> Mapping[Place, LiveVersion]:
        """The live version of every (model, alias)."""
        return self._table.lives

    def resolve(
        self,
        model: str,
        version: int | None = None,
        alias: str | None = None,
        at: datetime | None = None,
    ) -> LiveVersion:
        """The version that answers a request that arrived `at` a time, by default now; if none is
        named, that of the alias `production`.

        Raises: MODEL_UNKNOWN, ALIAS_UNKNOWN, VERSION_NOT_LIVE, VERSION_REVOKED, POLICY_EXPIRED,
        POINTER_STALE.
        """
        clock = (at or self._clock()).timestamp()
        return self._table.resolve(model, version, alias, clock)

    def is_revoked(self, model: str, digest: str) -> bool:
        """Whether this engine has seen that a model's version was revoked."""
        return self._seen.seen.is_revoked(model, digest)

    def share(self, model: str, alias: str) -> LiveVersion | None:
        """The live version of an alias with a share of production's requests; None if it cannot
        answer.
        """
        live = self._table.lives.get((model, alias))
        if live is None or not live.share:
            return None
        try:
            return self.resolve(model, None, alias)
        except SealgateError:
            return None

    def index(self) -> list[IndexedVersion]:
        """Every version that a pointer names, and whether it answers."""
        return self._table.index(self._clock().timestamp())

    def infer(
        self,
        live: LiveVersion,
        x: npt.NDArray[Any],
        options: RequestOptions = DEFAULT_OPTIONS,
    ) -> InferenceResult:
        """Screen and run the rows of `x` [n, …], float32, finite and of the model's row shape.

        Raises: BATCH_TOO_LARGE, QUEUE_FULL, DEADLINE_TOO_SHORT, DRAINING, INTERNAL; backends in
        other processes document their own errors.
        """
        return live.ready.submit(x, options)

    def infer_all(
        self,
        live: LiveVersion,
        requests: Sequence[tuple[npt.NDArray[Any], RequestOptions]],
    ) -> list[InferenceResult | SealgateError]:
        """`infer` for a burst of requests: for each its result, or why there is none."""
        return live.ready.submit_all(requests)

    def infer_parts(
        self,
        live: LiveVersion,
        requests: Sequence[tuple[npt.NDArray[Any], RequestOptions]],
    ) -> Iterator[Sequence[tuple[int, InferenceResult | SealgateError]]]:
        """Like `infer_all`, but yield results as they come, each with its request's place."""
        if isinstance(live.ready, PartedVersion):
            yield from live.ready.submit_parts(requests)
        else:
            yield list(enumerate(live.ready.submit_all(requests)))

    def update(self, snapshot: UntrustedSnapshot, source: Source) -> UpdateResult:
        """Bring the live table up to the registry's state, as far as the state can be verified.

        1. Verify the policies; they apply even if the rest is refused.
        2. Verify the freshness statement. Versions that it ends stop before anything is loaded.
        3. Verify each pointer, and load its version unless it is loaded.
        4. Save the rollback guard to disk, before anyone is answered from the new state. If that
           fails, aliases do not move, but policies apply and ended versions stop.
        5. Publish the table, and release versions that no alias needs.
        """
        with self._updating:
            if self._closed:
                return UpdateResult(refused=SealgateError(Reason.DRAINING))
            seen, now = self._seen.seen, self._clock()
            try:
                # 1.
                policies = establish_policies(self._anchor, snapshot.policies, seen)
                self._remember(policies.seen)
                self._publish(policies, self._table.lives, self._table.closed)
                # 2.
                trust = establish(policies, snapshot.freshness, now)
                moves = TableUpdate(
                    trust, self._table, self.previous, self.ready_versions, self._loader
                )
                if moves.ended:
                    self._remember(trust.seen)
                    self._publish(policies, dict(moves.lives), moves.closed)
                # 3.
                for place in sorted({*snapshot.bundles, *moves.named()}):
                    moves.follow(place, snapshot.bundles.get(place), source)
                # 4.
                unsaved = self._remember(moves.seen)
                if unsaved is not None:
                    moves.hold(source)
            except SealgateError as refusal:
                return UpdateResult(refused=refusal)
            # 5.
            self._publish(policies, moves.lives, moves.closed)
            if unsaved is not None:
                return UpdateResult(refused=unsaved)
            self.previous, self.ready_versions = moves.previous, moves.kept()
            return UpdateResult(tuple(moves.loaded), tuple(moves.rejected))

    def warm(self, place: Place, snapshot: UntrustedSnapshot, source: Source) -> None:
        """Load the version that an alias named before, if this engine has not seen that pointer.

        `snapshot.bundles` has the alias's previous pointer, if there is one. The version answers no
        requests yet. Raises SealgateError as `update` does.
        """
        with self._updating:
            if self._closed or place not in snapshot.bundles:
                return
            policies = establish_policies(self._anchor, snapshot.policies, self._seen.seen)
            trust = establish(policies, snapshot.freshness, self._clock())
            moves = TableUpdate(
                trust, self._table, self.previous, self.ready_versions, self._loader
            )
            moves.warm(place, snapshot.bundles[place], source)
            self.previous, self.ready_versions = moves.previous, moves.kept()

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests with DRAINING and wait for those queued. False if time ran out."""
        with self._updating:
            self._closed = True
            end = None if timeout is None else time.monotonic() + timeout
            drained = True
            for ready in self.ready_versions.values():
                left = None if end is None else max(0.0, end - time.monotonic())
                drained &= ready.close(left)
            return drained

    def _remember(self, seen: RollbackGuard) -> SealgateError | None:
        """Save the rollback guard; return why it is not saved, if it is not."""
        try:
            self._seen.save(seen)
        except OSError as error:
            return SealgateError(Reason.INTERNAL, f"cannot save the rollback guard: {error}")
        return None

    def _publish(
        self,
        policies: PolicyState,
        lives: Mapping[Place, LiveVersion],
        closed: Mapping[Place, ClosedAlias],
    ) -> None:
        policy = policies.current
        ends = parse_time(policy.expires).timestamp() + policy.grace.seconds
        self._table = LiveTable.of(policy, ends, self._seen.seen.time.timestamp(), lives, closed)
