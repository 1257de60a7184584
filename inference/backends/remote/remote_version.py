"""A version that runs in remote engines, as the gateway sees it.

The gateway reads the signed configuration and the detector from verified bytes, so the verdict is
its own (`inference.backends.remote.messages`).
"""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy.typing as npt

from inference.backends.remote.messages import Answer, RemoteRequest, VersionMessages
from inference.batching import DEFAULT_OPTIONS, BatcherCounts, Pace, RequestOptions
from inference.engine import BatchPhases, FileSource, InferenceResult, Statistics, read_file
from inference.engine.version_contents import DETECTOR, MODEL, TOKENIZER, check_screens
from inference.model.config import ModelConfig
from inference.screening.detector import Detector
from inference.text.tokenizer import TextTokenizer
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.statements import Manifest

Array = npt.NDArray[Any]


class EngineCaller(Protocol):
    """Sends a version's requests to engines."""

    def engine(self, digest: str) -> str:
        """Where the version of that digest runs, as stated before anyone has answered."""
        ...

    def ask(
        self, digest: str, rows: int, request: oip.ModelInferRequest, deadline: float | None
    ) -> tuple[oip.ModelInferResponse, str]:
        """The answer, and what its entry says about the engine that gave it.

        Raises: ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, and an engine's own errors.
        """
        ...

    def ask_all(
        self,
        digest: str,
        messages: VersionMessages,
        burst: Mapping[int, RemoteRequest],
        most_rows: int,
    ) -> Iterator[list[tuple[int, Answer]]]:
        """`ask` for requests by their places; see `BurstCalls.answers`."""
        ...


@dataclass(frozen=True, slots=True)
class VersionTerms:
    """The files of a version that the gateway itself reads: configuration and detector."""

    config: ModelConfig
    detector: Detector
    tokenizer: TextTokenizer | None = None

    @classmethod
    def read(cls, manifest: Manifest, source: FileSource) -> "VersionTerms":
        """Raises: VERSION_ALTERED, DOCUMENT_MALFORMED, FILE_MISSING, GRAPH_MISMATCH, and as
        `TextTokenizer.open` and the source do.
        """
        model, detector = (_verified(manifest, name, source) for name in (MODEL, DETECTOR))
        config, tokenizer = ModelConfig.decode(model), None
        if config.tokens is not None and config.is_text:
            data = _verified(manifest, TOKENIZER, source)
            tokenizer = TextTokenizer.open(data, config.tokens)
        terms = cls(config, Detector.decode(detector), tokenizer)
        check_screens(terms.detector, manifest.screened)
        return terms


class RemoteVersion:
    """A `ServableVersion` that runs in remote engines through an `EngineCaller`."""

    pace = Pace.AWAY

    def __init__(
        self, engines: EngineCaller, model: str, number: int, digest: str, terms: VersionTerms
    ) -> None:
        self._engines = engines
        self._number = number
        self._terms = terms
        self._mutex = threading.Lock()
        self._closed = False
        self._requests = self._rows = self._dropped = 0
        self.model = model
        self.digest = digest
        self._messages = VersionMessages(model, number, digest, terms.config, terms.detector)
        self.statistics = Statistics()

    @property
    def config(self) -> ModelConfig:
        return self._terms.config

    @property
    def arithmetic(self) -> str:
        """The number format in which engines of this project answer."""
        return self.config.arithmetic

    @property
    def tokenizer(self) -> TextTokenizer | None:
        """The tokenizer that the engine uses, if the version takes texts."""
        return self._terms.tokenizer

    @property
    def engine(self) -> str:
        return self._engines.engine(self.digest)

    @property
    def detector(self) -> Detector:
        return self._terms.detector

    def is_of(self, model: str, number: int) -> bool:
        """Whether the engine knows it as the version of that model and number."""
        return (self.model, self._number) == (model, number)

    def counts(self) -> BatcherCounts:
        """The requests of this gateway. Queueing times are known only to the engine."""
        with self._mutex:
            return BatcherCounts(self._requests, self._requests, self._rows, self._dropped, 0)

    def submit(
        self,
        x: Array,
        options: RequestOptions = DEFAULT_OPTIONS,
    ) -> InferenceResult:
        """Have an engine run the rows of `x`, and judge the features that it measured.

        Raises: BATCH_TOO_LARGE, DRAINING, DEADLINE_TOO_SHORT, ANSWER_MALFORMED for an answer of
        another form, and as `EngineCaller.ask`.
        """
        if (refusal := self._refusal(x, options)) is not None:
            raise refusal
        begun, rows = time.perf_counter_ns(), len(x)
        try:
            request = self._messages.request(RemoteRequest(x, options))
            response, engine = self._engines.ask(self.digest, rows, request, options.deadline)
            answer = self._messages.answer(response, rows, engine)
        except SealgateError:
            self._count(dropped=1)
            raise
        self._count([answer], begun)
        return answer

    def submit_all(self, requests: Sequence[tuple[Array, RequestOptions]]) -> list[Answer]:
        """`submit` a burst; returns when all of it has been answered."""
        if len(requests) == 1:
            try:
                return [self.submit(*requests[0])]
            except SealgateError as refusal:
                return [refusal]
        found = dict(each for part in self.submit_parts(requests) for each in part)
        return [found[place] for place in range(len(requests))]

    def submit_parts(
        self, requests: Sequence[tuple[Array, RequestOptions]]
    ) -> Iterator[list[tuple[int, Answer]]]:
        """`submit` a burst; yields the place and the answer of requests as these come."""
        begun = time.perf_counter_ns()
        burst = {place: RemoteRequest(*request) for place, request in enumerate(requests)}
        refused = {
            place: refusal
            for place, asked in burst.items()
            if (refusal := self._refusal(*asked)) is not None
        }
        if refused:
            yield list(refused.items())
        wanted = {place: asked for place, asked in burst.items() if place not in refused}
        most = self.config.batching.max_rows
        for part in self._engines.ask_all(self.digest, self._messages, wanted, most):
            answered = [answer for _, answer in part if isinstance(answer, InferenceResult)]
            self._count(answered, begun, dropped=len(part) - len(answered))
            yield part

    def _refusal(self, x: Array, options: RequestOptions) -> SealgateError | None:
        """Why no engine is even asked."""
        if not 1 <= len(x) <= self.config.batching.max_rows:
            return SealgateError(Reason.BATCH_TOO_LARGE, f"{len(x)} rows")
        if self._closed:
            return SealgateError(Reason.DRAINING)
        if options.active is not None and not options.active():
            return SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
        return None

    def _count(
        self, answers: Sequence[InferenceResult] = (), begun: int = 0, dropped: int = 0
    ) -> None:
        rows = sum(len(answer.features) for answer in answers)
        with self._mutex:
            self._requests += len(answers)
            self._rows += rows
            self._dropped += dropped
        if answers:
            phases = BatchPhases(0, time.perf_counter_ns() - begun, 0)
            self.statistics.executed(len(answers), rows, phases)

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests. The caller waits for those in progress."""
        self._closed = True
        return True


def _verified(manifest: Manifest, name: str, source: FileSource) -> bytes:
    for entry in manifest.files:
        if entry.path == name:
            return read_file(entry, source)
    raise SealgateError(Reason.FILE_MISSING, name)
