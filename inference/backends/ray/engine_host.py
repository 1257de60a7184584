"""Engine host in front of Ray replicas: it verifies and counts, and runs no graph itself.

Each load is first shown to the replicas, which verify it from their own root keys. Then it is
verified here. A version is followed if at least one replica follows it and no replica objects.
A revoked version stops here at once, and replicas are reachable only through this process.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.backends.ray.replica import PointerBoard, RemoteRefusal, VersionAddress, unwrap
from inference.backends.remote.remote_version import VersionTerms
from inference.batching import (
    DEFAULT_OPTIONS,
    BatchCosts,
    Batcher,
    BatcherCounts,
    BatcherLimits,
    OperatorBounds,
    Pace,
    RequestOptions,
)
from inference.engine import (
    BatchPhases,
    FileSource,
    InferenceResult,
    Place,
    ServableVersion,
    Statistics,
    VerifiedPointer,
    split_results,
)
from inference.model.config import ModelConfig
from inference.screening.detector import Detector
from inference.server.host import EngineHost
from inference.server.load_request import LoadRequest
from inference.server.services import write_load
from sealgate.reasons import Reason, SealgateError

Array = npt.NDArray[Any]

PLACE = "replicas on ray, digest checked there"
# A batch is on its way to a replica while it runs the one before.
_BATCHES_EACH = 2
_TEXTS_EACH = 8


class ReplicaCaller(Protocol):
    """Runs a version's batches on replicas."""

    def infer(self, to: VersionAddress, x: Array) -> InferenceResult:
        """Raises: ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, and what a replica may refuse."""
        ...

    def costs(self, to: VersionAddress) -> BatchCosts:
        """The costs of batches at one replica, including the round trip. Raises as `infer` does."""
        ...


class ReplicatedVersion:
    """A `ServableVersion` that runs on replicas through a `ReplicaCaller`."""

    def __init__(
        self,
        runner: ReplicaCaller,
        to: VersionAddress,
        config: ModelConfig,
        detector: Detector,
        replicas: int,
    ) -> None:
        """There are at most so many `replicas`."""
        self._runner = runner
        self._to = to
        self._text = config.tokens is not None
        self._turn = itertools.count()
        each = _TEXTS_EACH if self._text else _BATCHES_EACH
        self.batcher: Batcher[Array, InferenceResult] = Batcher(
            self._run, BatcherLimits.of(config.batching, each * replicas)
        )
        self.digest = to.digest
        self.config = config
        self.detector = detector
        self.engine = PLACE
        self.arithmetic = config.arithmetic
        self.pace = Pace.AWAY
        self.place = "ray"
        self.statistics = Statistics()

    def counts(self) -> BatcherCounts:
        """Counts of runs since it was loaded."""
        return self.batcher.counts()

    def submit(
        self,
        x: Array,
        options: RequestOptions = DEFAULT_OPTIONS,
    ) -> InferenceResult:
        """See `Batcher.submit`; raises what `ReplicaCaller.infer` does as well."""
        bucket = next(self._turn) if self._text else 0
        return self.batcher.submit(x, options, bucket)

    def submit_all(
        self, requests: Sequence[tuple[Array, RequestOptions]]
    ) -> list[InferenceResult | SealgateError]:
        """See `Batcher.submit_all`."""
        return self.batcher.submit_all(
            (x, options, next(self._turn) if self._text else 0) for x, options in requests
        )

    def costs(self) -> BatchCosts:
        """See `ReplicaCaller.costs`."""
        return self._runner.costs(self._to)

    def close(self, timeout: float | None = None) -> bool:
        """See `Batcher.close`."""
        return self.batcher.close(timeout)

    def _run(self, requests: list[Array]) -> list[InferenceResult]:
        begun = perf_counter_ns()
        x = requests[0] if len(requests) == 1 else np.concatenate(requests)
        gathered = perf_counter_ns()
        answer = self._runner.infer(self._to, x)
        inferred = perf_counter_ns()
        answers = [answer] if len(requests) == 1 else self._parted(requests, answer)
        phases = BatchPhases(gathered - begun, inferred - gathered, perf_counter_ns() - inferred)
        self.statistics.executed(len(requests), len(x), phases)
        return answers

    def _parted(self, requests: list[Array], answer: InferenceResult) -> list[InferenceResult]:
        name, features = self.config.output.name, answer.features
        lengths, scores = [len(rows) for rows in requests], self.detector.scores(features)
        return split_results(lengths, name, answer.outputs[name], features, scores, self.detector)


class ReplicaFleet(Protocol):
    """A changing number of replicas."""

    def follow(self, number: int) -> list[RemoteRefusal | None]:
        """For each responding replica, why it does not follow the pointer shown under `number`;
        None if it does.
        """
        ...

    def infer(self, number: int, to: VersionAddress, x: npt.NDArray[Any]) -> InferenceResult:
        """See `Replica.infer`. Raises: what a replica refused; ENGINE_UNAVAILABLE, RUN_HUNG."""
        ...

    def costs(self, to: VersionAddress) -> BatchCosts:
        """See `Replica.costs`, with the way there and back. Raises: as `infer`."""
        ...

    def close(self) -> None: ...


class ReplicaGroup:
    """Shows pointers to the replicas and runs versions there. A `ReplicaCaller` and a
    `VersionLoader`.
    """

    def __init__(
        self, fleet: ReplicaFleet, board: PointerBoard, bounds: OperatorBounds, most: int
    ) -> None:
        """`bounds` tighten how versions are batched; there are at most `most` replicas."""
        self._fleet = fleet
        self._board = board
        self._bounds = bounds
        self._most = most
        self._number = 0
        self._newest = 0
        self._numbers: dict[Place, int] = {}
        self._said: dict[Place, tuple[str, SealgateError | None]] = {}

    @contextmanager
    def showing(self, load: LoadRequest) -> Iterator[None]:
        """Have the replicas follow a load, while this process does in the block.

        Raises: INTERNAL where nothing can be shown; what the block raises: then it is shown to no
        further replica.
        """
        self._newest += 1
        number = self._newest
        try:
            self._board.put(number, write_load(load).SerializeToString())
        except OSError as error:
            raise SealgateError(
                Reason.INTERNAL, f"cannot show replicas anything: {error}"
            ) from error
        refusal = _against(self._fleet.follow(number))
        self._said = {**self._said, load.place: (load.digest, refusal)}
        # Requests that resolved the new version need a replica that has read its pointer.
        before, self._number = self._number, number
        try:
            yield
        except BaseException:
            self._number = before
            self._board.remove(number)
            raise
        replaced = self._numbers.get(load.place)
        self._numbers[load.place] = number
        if replaced is not None:
            self._board.remove(replaced)

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises: ENGINE_UNAVAILABLE, a replica's objection, and as
        `VersionTerms.read`.
        """
        pointer = cleared.pointer
        digest, refusal = self._said.get((pointer.model, pointer.alias), ("", None))
        if digest != cleared.pointer_digest:
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, "replicas were not shown this pointer")
        if refusal is not None:
            raise SealgateError(refusal.reason, refusal.detail)
        if loaded is not None:
            return loaded
        terms = VersionTerms.read(cleared.manifest, source)
        signed = terms.config
        config = replace(signed, batching=self._bounds.tighten(signed.name, signed.batching))
        to = VersionAddress(pointer.model, pointer.version, pointer.digest)
        return ReplicatedVersion(self, to, config, terms.detector, self._most)

    def infer(self, to: VersionAddress, x: npt.NDArray[Any]) -> InferenceResult:
        """See `ReplicaCaller`."""
        return self._fleet.infer(self._number, to, x)

    def costs(self, to: VersionAddress) -> BatchCosts:
        """See `ReplicaCaller`."""
        return self._fleet.costs(to)

    def close(self) -> None:
        self._fleet.close()


class ReplicaFront(EngineHost):
    """An `EngineHost` whose versions run in replicas."""

    def __init__(self, group: ReplicaGroup, *parts: Any) -> None:
        """`parts` are an `EngineHost`'s; its engine's loader is `group`."""
        super().__init__(*parts)
        self._group = group

    def close(self, timeout: float) -> bool:
        """See `Engine.close`; the replicas end afterwards."""
        drained = super().close(timeout)
        self._group.close()
        return drained

    def _showing(self, load: LoadRequest) -> AbstractContextManager[None]:
        return self._group.showing(load)


def _against(said: Sequence[RemoteRefusal | None]) -> SealgateError | None:
    """Why a load is not followed by replicas that answered this; None if it is followed."""
    try:
        for each in said:
            unwrap(each)
    except SealgateError as refusal:
        return refusal
    return None if said else SealgateError(Reason.ENGINE_UNAVAILABLE, "no replica answers")
