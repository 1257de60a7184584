"""A version that replicas run, as the process in front of them sees it.

Its requests queue here and are batched here, fairly and within all bounds, as an engine alone does;
a batch is then handed to a replica as one. The rows of texts are cut and batched by the replica,
which has the tokenizer, so requests of texts are handed on one by one.
"""

import itertools
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.answer import Answer, parted
from inference.batcher import Batcher
from inference.costs import Costs
from inference.limits import Counts, Limits
from inference.model_config import ModelConfig
from inference.replicas.replica import Address
from inference.screening.detector import Detector
from inference.statistics import Phases, Statistics
from sealgate.trust.answer import INT8

Array = npt.NDArray[Any]

PLACE = "replicas on ray, digest checked there"
# A batch is on its way to a replica while it runs the one before.
_BATCHES_EACH = 2
_TEXTS_EACH = 8


class Line(Protocol):
    """How a version has its batches run."""

    def infer(self, to: Address, x: Array) -> Answer:
        """Raises: ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, and what a replica may refuse."""
        ...

    def costs(self, to: Address) -> Costs:
        """What batches cost at one replica, the way there and back included; raises the same."""
        ...


class ReplicatedVersion:
    """A `Ready` version behind a `Line`."""

    def __init__(
        self, line: Line, to: Address, config: ModelConfig, detector: Detector, replicas: int
    ) -> None:
        """There are at most so many `replicas`."""
        self._line = line
        self._to = to
        self._text = config.tokens is not None
        self._turn = itertools.count()
        each = _TEXTS_EACH if self._text else _BATCHES_EACH
        self._batcher: Batcher[Array, Answer] = Batcher(
            self._run, Limits.of(config.batching, each * replicas)
        )
        self.digest = to.digest
        self.config = config
        self.detector = detector
        self.engine = PLACE
        self.arithmetic = INT8
        self.place = "ray"
        self.statistics = Statistics()

    def counts(self) -> Counts:
        """What has been run since it was loaded."""
        return self._batcher.counts()

    def submit(
        self,
        x: Array,
        deadline: float | None = None,
        active: Callable[[], bool] | None = None,
        urgent: bool = False,
        caller: str = "",
    ) -> Answer:
        """See `Batcher.submit`; raises what `Line.infer` does as well."""
        bucket = next(self._turn) if self._text else 0
        return self._batcher.submit(x, deadline, active, urgent, caller, bucket)

    def costs(self) -> Costs:
        """See `Line.costs`."""
        return self._line.costs(self._to)

    def close(self, timeout: float | None = None) -> bool:
        """See `Batcher.close`."""
        return self._batcher.close(timeout)

    def _run(self, requests: list[Array]) -> list[Answer]:
        begun = perf_counter_ns()
        x = requests[0] if len(requests) == 1 else np.concatenate(requests)
        gathered = perf_counter_ns()
        answer = self._line.infer(self._to, x)
        inferred = perf_counter_ns()
        answers = [answer] if len(requests) == 1 else self._parted(requests, answer)
        phases = Phases(gathered - begun, inferred - gathered, perf_counter_ns() - inferred)
        self.statistics.executed(len(requests), len(x), phases)
        return answers

    def _parted(self, requests: list[Array], answer: Answer) -> list[Answer]:
        name, features = self.config.output.name, answer.features
        lengths, scores = [len(rows) for rows in requests], self.detector.scores(features)
        return parted(lengths, name, answer.outputs[name], features, scores, self.detector)
