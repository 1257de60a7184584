"""Engine host: follows the pointers that gateways show, as far as it can verify them.

A gateway shows one pointer at a time, with every policy and the newest freshness statement. The
host keeps everything that it has verified, so each statement renews every pointer that it names. A
revocation stops a version at once, whichever pointer it came with.

A gateway follows a pointer only after the engine does. So for a while, requests arrive that
resolved the previous version: the host still answers those for `LEAVING_SECONDS`. A request names
the digest of the version that must answer it, and no other version does.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt

from inference.batching import BatchCosts, RequestOptions
from inference.engine import (
    Engine,
    InferenceResult,
    LiveVersion,
    Place,
    RollbackGuardFile,
    SignedManifest,
)
from inference.server.load_request import LoadRequest
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.statements import PointerBundle, sign_statement
from sealgate.trust.statements.covering import EngineCounts
from sealgate.trust.times import format_time


class RunTally:
    """Counts requests and rows. Safe for many threads."""

    def __init__(
        self, engine: str, instance: str, signer: Signer, clock: Callable[[], datetime]
    ) -> None:
        """`instance` is new and random with each process, 32 hexadecimal digits."""
        self._engine = engine
        self._instance = instance
        self._signer = signer
        self._clock = clock
        self._since = format_time(clock())
        self._sequence = 0
        self._counts: dict[str, tuple[int, int]] = {}
        self._mutex = threading.Lock()

    def ran(self, digest: str, rows: int) -> None:
        """A request of so many rows was run by the version of that digest."""
        with self._mutex:
            requests, before = self._counts.get(digest, (0, 0))
            self._counts[digest] = requests + 1, before + rows

    def statement(self) -> Envelope:
        """The counts at this moment, signed."""
        with self._mutex:
            self._sequence += 1
            sequence, counts = self._sequence, sorted(self._counts.items())
        statement = EngineCounts(
            engine=self._engine,
            instance=self._instance,
            sequence=sequence,
            since=self._since,
            time=format_time(self._clock()),
            counts=tuple((digest, *numbers) for digest, numbers in counts),
        )
        return sign_statement(statement, self._signer)


LEAVING_SECONDS = 60.0
# By model and number: a version, and until when it is answered for, in seconds of `monotonic`.
Leaving: TypeAlias = Mapping[tuple[str, int], tuple[LiveVersion, float]]


class ArtifactFiles(Protocol):
    """Reads files by digest."""

    def read(self, digest: str, size: int) -> bytes:
        """See `registry.storage.artifacts.ArtifactStore.read`."""
        ...


@runtime_checkable
class CostMeasurable(Protocol):
    """A version that can measure the costs of its batches."""

    @property
    def place(self) -> str:
        """The provider that runs its graphs."""
        ...

    def costs(self) -> BatchCosts:
        """Run golden inputs of each size; raises SealgateError if that is impossible."""
        ...


class EngineHost:
    """An engine with the pointers that it was shown and the counts of what it ran. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        seen: RollbackGuardFile,
        files: ArtifactFiles,
        tally: RunTally | None,
        clock: Callable[[], datetime],
        patience: float,
    ) -> None:
        """`seen` is the engine's rollback guard; a load waits at most `patience` seconds for
        another.

        Without a `tally`, whoever passes on the answers counts them.
        """
        self._engine = engine
        self._seen = seen
        self._files = files
        self._tally = tally
        self._clock = clock
        self.patience = patience
        self._loading = threading.Lock()
        self._shown: dict[Place, LoadRequest] = {}
        self._leaving: Leaving = {}
        self._measuring = threading.Lock()
        self._costs: weakref.WeakKeyDictionary[CostMeasurable, BatchCosts] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def engine(self) -> Engine:
        return self._engine

    def load(self, load: LoadRequest) -> None:
        """Follow the pointer of the request, and what comes with it.

        Raises: QUEUE_FULL while another load takes too long; why the engine does not believe the
        state, or does not follow this pointer.
        """
        if not self._loading.acquire(timeout=self.patience):
            raise SealgateError(Reason.QUEUE_FULL, "another load is in progress")
        try:
            known = self._shown.get(load.place)
            # Keep the first proof of a pointer, not the one that arrives with it again.
            same = known is not None and known.digest == load.digest
            shown = self._shown if same else {**self._shown, load.place: load}
            before = self._engine.live()
            # Requests may still arrive for versions that the next table leaves out.
            self._leaving = {**self._leaving, **_leaving(before.values())}
            with self._showing(load):
                self._follow(load, _ShownPointers(load, shown, self._files), before)
            self._shown = shown
        finally:
            self._loading.release()

    def resolve(self, model: str, version: int, digest: str) -> LiveVersion:
        """The version of that number and digest, if it is live or was until a moment ago.

        Raises: as `Engine.resolve`; VERSION_NOT_LIVE if the number stands for other bytes.
        """
        try:
            live = self._engine.resolve(model, version)
        except SealgateError as refusal:
            left = self._leaving.get((model, version))
            if refusal.reason is not Reason.VERSION_NOT_LIVE or left is None:
                raise
            live, end = left
            now = self._clock()
            if time.monotonic() >= end or now.timestamp() >= live.until:
                raise
            if self._engine.policy is not None:
                self._engine.policy.check_standing(now)
        if live.digest != digest:
            raise SealgateError(Reason.VERSION_NOT_LIVE, f"{model}/{version} is {live.digest}")
        return live

    def infer(
        self,
        live: LiveVersion,
        x: npt.NDArray[Any],
        options: RequestOptions,
    ) -> InferenceResult:
        """See `Engine.infer`; the run is counted before anyone hears of it."""
        answer = self._engine.infer(live, x, options)
        self.ran(live, len(x))
        return answer

    def infer_all(
        self, live: LiveVersion, requests: Sequence[tuple[npt.NDArray[Any], RequestOptions]]
    ) -> list[InferenceResult | SealgateError]:
        """See `Engine.infer_all`; the runs are counted before anyone hears of them."""
        answers = self._engine.infer_all(live, requests)
        for (x, _), answer in zip(requests, answers, strict=True):
            if not isinstance(answer, SealgateError):
                self.ran(live, len(x))
        return answers

    def ran(self, live: LiveVersion, rows: int) -> None:
        """Count a request of so many rows that a version has run."""
        if self._tally is not None:
            self._tally.ran(live.digest, rows)

    def costs(self, model: str, version: int, digest: str) -> tuple[str, BatchCosts]:
        """Where the version's graphs run, and what its batches cost, measured once.

        These runs are not counted: they answer nobody. Raises: as `resolve`; ENGINE_UNSUITABLE.
        """
        ready = self.resolve(model, version, digest).ready
        if not isinstance(ready, CostMeasurable):
            raise SealgateError(Reason.ENGINE_UNSUITABLE, "it runs elsewhere still")
        with self._measuring:
            costs = self._costs.get(ready)
            if costs is None:
                costs = self._costs[ready] = ready.costs()
        return ready.place, costs

    def counts(self) -> Envelope:
        """The signed counts. Raises: METHOD_UNSUITED if they are kept elsewhere."""
        if self._tally is None:
            raise SealgateError(Reason.METHOD_UNSUITED, "counts are kept elsewhere")
        return self._tally.statement()

    def close(self, timeout: float) -> bool:
        """See `Engine.close`."""
        return self._engine.close(timeout)

    def _showing(self, load: LoadRequest) -> AbstractContextManager[None]:
        """A context around following a load: empty if graphs run in this process."""
        return nullcontext()

    def _follow(
        self, load: LoadRequest, state: "_ShownPointers", before: Mapping[Place, LiveVersion]
    ) -> None:
        update = self._engine.update(state, state)
        self._leaving = self._left_behind(before)
        refusals = [item for item in update.rejected if (item.model, item.alias) == load.place]
        if update.refused is not None:
            raise SealgateError(update.refused.reason, update.refused.detail)
        if refusals:
            raise SealgateError(refusals[0].reason, refusals[0].detail)

    def _left_behind(self, before: Mapping[Place, LiveVersion]) -> Leaving:
        """The versions that an alias has just left, and those of a moment ago."""
        after, now = self._engine.live(), time.monotonic()
        moved = [
            live
            for place, live in before.items()
            if place in after and after[place].digest != live.digest
        ]
        stayed = {(live.model, live.version) for live in before.values()}
        earlier = {
            place: left
            for place, left in self._leaving.items()
            if place not in stayed and left[1] > now
        }
        seen, found = self._seen.seen, {**earlier, **_leaving(moved)}
        return {
            place: left
            for place, left in found.items()
            if not seen.is_revoked(left[0].model, left[0].digest)
        }


def _leaving(lives: Iterable[LiveVersion]) -> dict[tuple[str, int], tuple[LiveVersion, float]]:
    end = time.monotonic() + LEAVING_SECONDS
    return {(live.model, live.version): (live, end) for live in lives}


@dataclass(frozen=True, slots=True)
class _ShownPointers:
    """All pointers shown, under the newest policies and freshness: an `UntrustedSnapshot` and a
    `Source`.
    """

    newest: LoadRequest
    loads: Mapping[Place, LoadRequest]
    files: ArtifactFiles

    @property
    def policies(self) -> tuple[Envelope, ...]:
        return self.newest.policies

    @property
    def freshness(self) -> Envelope:
        return self.newest.freshness

    @property
    def bundles(self) -> Mapping[Place, PointerBundle]:
        return {place: load.pointer for place, load in self.loads.items()}

    def signed_manifest(self, digest: str) -> SignedManifest:
        """Raises: VERSION_ALTERED."""
        for load in self.loads.values():
            if load.manifest.digest == digest:
                return load.signed
        raise SealgateError(Reason.VERSION_ALTERED, f"no manifest has the digest {digest}")

    def read(self, digest: str) -> bytes:
        """Raises: VERSION_ALTERED, REGISTRY_UNAVAILABLE."""
        for load in self.loads.values():
            for entry in load.manifest.files:
                if entry.digest == digest:
                    return self.files.read(digest, entry.size)
        raise SealgateError(Reason.VERSION_ALTERED, f"no manifest names {digest}")
