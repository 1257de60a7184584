"""A version that runs in remote engines, as the gateway sees it.

The gateway reads the signed configuration and the detector from verified bytes, so the verdict is
its own: an engine's answer is checked against the expected shapes before it is judged.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.batching.limits import BatcherCounts
from inference.batching.limits import Pace
from inference.batching.queue import DEFAULT_OPTIONS, RequestOptions
from inference.engine.result import InferenceResult
from inference.engine.statistics import BatchPhases, Statistics
from inference.engine.version_contents import DETECTOR, MODEL, TOKENIZER
from inference.engine.version_verifier import FileSource, read_file
from inference.model.config import ModelConfig
from inference.model.inputs import tensors_of
from inference.screening.detector import Detector
from inference.server.requests import CALLER, DIGEST, FEATURES_OUTPUT, URGENT
from inference.text.tokenizer import TextTokenizer
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import write_inputs
from sealgate.trust.receipts.answer_entry import INT8
from sealgate.trust.statements import Manifest

Array = npt.NDArray[Any]

SEPARATE = "separate, digest checked there"


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


@dataclass(frozen=True, slots=True)
class VersionTerms:
    """The files of a version that the gateway itself reads: configuration and detector."""

    config: ModelConfig
    detector: Detector
    tokenizer: TextTokenizer | None = None

    @classmethod
    def read(cls, manifest: Manifest, source: FileSource) -> "VersionTerms":
        """Raises: VERSION_ALTERED, DOCUMENT_MALFORMED, FILE_MISSING, and as `TextTokenizer.open`
        and the source do.
        """
        model, detector = (_verified(manifest, name, source) for name in (MODEL, DETECTOR))
        config, tokenizer = ModelConfig.decode(model), None
        if config.tokens is not None and config.is_text:
            data = _verified(manifest, TOKENIZER, source)
            tokenizer = TextTokenizer.open(data, config.tokens)
        return cls(config, Detector.decode(detector), tokenizer)


class RemoteVersion:
    """A `ServableVersion` that runs in remote engines through an `EngineCaller`."""

    # An engine of ours runs the INT8 graph.
    arithmetic = INT8
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
        self.statistics = Statistics()

    @property
    def config(self) -> ModelConfig:
        return self._terms.config

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
        """What this gateway asked. Queueing times are known to the engine only."""
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
        if not 1 <= len(x) <= self.config.batching.max_rows:
            raise SealgateError(Reason.BATCH_TOO_LARGE, f"{len(x)} rows")
        if self._closed:
            raise SealgateError(Reason.DRAINING)
        if options.active is not None and not options.active():
            raise SealgateError(Reason.DEADLINE_TOO_SHORT, "before its run")
        begun = time.perf_counter_ns()
        try:
            request = self._request(x, options)
            response, engine = self._engines.ask(self.digest, len(x), request, options.deadline)
            answer = self._judged(response, len(x), engine)
        except SealgateError:
            with self._mutex:
                self._dropped += 1
            raise
        with self._mutex:
            self._requests += 1
            self._rows += len(x)
        self.statistics.executed(1, len(x), BatchPhases(0, time.perf_counter_ns() - begun, 0))
        return answer

    def submit_all(
        self, requests: Sequence[tuple[Array, RequestOptions]]
    ) -> list[InferenceResult | SealgateError]:
        """`submit` each, one after another."""
        return [self._submitted(*request) for request in requests]

    def _submitted(self, x: Array, options: RequestOptions) -> InferenceResult | SealgateError:
        try:
            return self.submit(x, options)
        except SealgateError as refusal:
            return refusal

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests. The caller waits for those in progress."""
        self._closed = True
        return True

    def _request(self, x: Array, options: RequestOptions) -> oip.ModelInferRequest:
        request = oip.ModelInferRequest(model_name=self.model, model_version=str(self._number))
        request.parameters[DIGEST].string_param = self.digest
        if options.urgent:
            request.parameters[URGENT].bool_param = True
        if options.caller:
            request.parameters[CALLER].string_param = options.caller
        write_inputs(request, tensors_of(self.config, x))
        return request

    def _judged(self, response: oip.ModelInferResponse, rows: int, engine: str) -> InferenceResult:
        output, detector = self.config.output, self._terms.detector
        arrays = read_arrays(response)
        expected = {
            output.name: (rows, *output.row),
            FEATURES_OUTPUT: (rows, detector.width),
        }
        if {name: array.shape for name, array in arrays.items()} != expected:
            raise SealgateError(Reason.ANSWER_MALFORMED, "the engine's answer has another shape")
        features = arrays.pop(FEATURES_OUTPUT)
        return InferenceResult.judged(arrays, features, detector, engine)


def read_arrays(response: oip.ModelInferResponse) -> dict[str, Array]:
    """The float32 outputs of an engine's answer by name, finite or not.

    Raises SealgateError(ANSWER_MALFORMED).
    """
    raws = response.raw_output_contents
    names = [tensor.name for tensor in response.outputs]
    if len(raws) != len(names) or len(set(names)) != len(names):
        raise SealgateError(
            Reason.ANSWER_MALFORMED, "the engine's outputs are not one raw entry each"
        )
    arrays = {}
    for tensor, raw in zip(response.outputs, raws, strict=True):
        if tensor.datatype != "FP32" or len(tensor.shape) != 2 or min(tensor.shape) < 1:
            raise SealgateError(
                Reason.ANSWER_MALFORMED, "an engine's output is not float32 of two axes"
            )
        shape = tuple(tensor.shape)
        if len(raw) != 4 * shape[0] * shape[1]:
            raise SealgateError(Reason.ANSWER_MALFORMED, "an engine's output has another size")
        arrays[tensor.name] = np.frombuffer(raw, "<f4").reshape(shape)
    return arrays


def _verified(manifest: Manifest, name: str, source: FileSource) -> bytes:
    for entry in manifest.files:
        if entry.path == name:
            return read_file(entry, source)
    raise SealgateError(Reason.FILE_MISSING, name)
