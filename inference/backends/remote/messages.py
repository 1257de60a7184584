"""Messages between a gateway and its engines about requests of one version.

A request alone travels as `ModelInfer`'s message. Several travel in one: their rows in one set of
tensors, and beside it whose rows they are. An answer is checked against the expected shapes before
it is judged, here, with the signed detector.
"""

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from inference.backends.remote.calls import LONGEST_RETRY, known_reason
from inference.batching.queue import RequestOptions
from inference.engine.result import InferenceResult, split_results
from inference.model.config import ModelConfig
from inference.model.inputs import tensors_of
from inference.screening.detector import Detector
from inference.server.requests import CALLER, DIGEST, FEATURES_OUTPUT, URGENT
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import write_inputs
from sealgate.v1 import engine_pb2

Array = npt.NDArray[Any]
Answer: TypeAlias = InferenceResult | SealgateError


class Asked(NamedTuple):
    """A request for an engine: its rows [n, …], and how it is scheduled."""

    x: Array
    options: RequestOptions


class VersionMessages:
    """Writes requests of one version, and reads what engines answer."""

    def __init__(
        self, model: str, number: int, digest: str, config: ModelConfig, detector: Detector
    ) -> None:
        self._model = model
        self._number = str(number)
        self._digest = digest
        self._config = config
        self._detector = detector

    def request(self, asked: Asked) -> oip.ModelInferRequest:
        """One request, for `ModelInfer`."""
        request = self._rows(asked.x)
        if asked.options.urgent:
            request.parameters[URGENT].bool_param = True
        if asked.options.caller:
            request.parameters[CALLER].string_param = asked.options.caller
        return request

    def burst(self, burst: Sequence[Asked]) -> engine_pb2.InferBurstRequest:
        """Requests whose rows have one shape, for `InferBurst`."""
        now = time.monotonic()
        items = [
            engine_pb2.BurstItem(
                rows=len(x),
                caller=options.caller,
                urgent=options.urgent,
                # Zero would be no bound.
                seconds=0 if options.deadline is None else max(options.deadline - now, 1e-6),
            )
            for x, options in burst
        ]
        rows = self._rows(np.concatenate([asked.x for asked in burst]))
        return engine_pb2.InferBurstRequest(rows=rows, items=items)

    def answer(self, response: oip.ModelInferResponse, rows: int, engine: str) -> InferenceResult:
        """What `ModelInfer` answered to so many rows. Raises: ANSWER_MALFORMED."""
        arrays = self._arrays(response, rows)
        features = arrays.pop(FEATURES_OUTPUT)
        return InferenceResult.judged(arrays, features, self._detector, engine)

    def answers(
        self, response: engine_pb2.InferBurstResponse, burst: Sequence[Asked], engine: str
    ) -> list[Answer]:
        """What `InferBurst` answered, in the order of its requests. Raises: ANSWER_MALFORMED."""
        refused = _refusals(response, len(burst))
        lengths = [len(each.x) for place, each in enumerate(burst) if place not in refused]
        answered: list[InferenceResult] = []
        if lengths:
            arrays = self._arrays(response.rows, sum(lengths))
            features, output = arrays[FEATURES_OUTPUT], self._config.output.name
            scores = self._detector.scores(features)
            answered = split_results(
                lengths, output, arrays[output], features, scores, self._detector, engine
            )
        left = iter(answered)
        return [refused.get(place) or next(left) for place in range(len(burst))]

    def _rows(self, x: Array) -> oip.ModelInferRequest:
        request = oip.ModelInferRequest(model_name=self._model, model_version=self._number)
        request.parameters[DIGEST].string_param = self._digest
        write_inputs(request, tensors_of(self._config, x))
        return request

    def _arrays(self, response: oip.ModelInferResponse, rows: int) -> dict[str, Array]:
        output = self._config.output
        arrays = read_arrays(response)
        expected = {
            output.name: (rows, *output.row),
            FEATURES_OUTPUT: (rows, self._detector.width),
        }
        if {name: array.shape for name, array in arrays.items()} != expected:
            raise SealgateError(Reason.ANSWER_MALFORMED, "the engine's answer has another shape")
        return arrays


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


def _refusals(response: engine_pb2.InferBurstResponse, count: int) -> dict[int, SealgateError]:
    """The refused requests of a burst by their places, with the engine's reasons."""
    found = {}
    for refusal in response.refusals:
        if refusal.place >= count or refusal.place in found:
            raise SealgateError(Reason.ANSWER_MALFORMED, "an engine refuses what nobody asked")
        reason, retry = known_reason(refusal.reason), None
        if refusal.HasField("retry_seconds") and math.isfinite(refusal.retry_seconds):
            retry = min(max(refusal.retry_seconds, 0.0), LONGEST_RETRY)
        found[refusal.place] = SealgateError(reason, "at an engine", retry)
    return found
