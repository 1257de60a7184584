"""Messages between a gateway and its engines about requests of one version, and calls with them.

A request alone travels as `ModelInfer`'s message. Several travel in one: their rows in one set of
tensors, and beside it whose rows they are. An answer is checked against the expected shapes before
it is judged, here, with the signed detector. Each call returns the answer or raises the engine's
error.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar, cast

import grpc
import numpy as np
import numpy.typing as npt

from inference.batching import RequestOptions
from inference.engine import InferenceResult, split_results
from inference.model.config import ModelConfig
from inference.model.inputs import tensors_of
from inference.screening.detector import Detector
from inference.server.requests import CALLER, DIGEST, FEATURES_OUTPUT, URGENT
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import reason_of, retry_after_of
from sealgate.tensors import write_inputs
from sealgate.v1 import engine_pb2

Array = npt.NDArray[Any]
Answer: TypeAlias = InferenceResult | SealgateError
# Where gRPC itself has ended a call; CANCELLED is our own doing, for want of a listener.
_BY_STATUS = {
    grpc.StatusCode.CANCELLED: Reason.DEADLINE_TOO_SHORT,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_TOO_SHORT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.QUEUE_FULL,
}
_LONGEST_DETAIL = 200
LONGEST_RETRY = 60.0
"""An engine's queue is empty sooner; whoever says more would keep callers away."""

OnEnd: TypeAlias = Callable[[Callable[[], Any]], Any]
"""Is given what ends a stream from another thread, when nobody listens any more."""

_Request = TypeVar("_Request", contravariant=True)
_Response = TypeVar("_Response", covariant=True)


class RemoteRequest(NamedTuple):
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

    def request(self, asked: RemoteRequest) -> oip.ModelInferRequest:
        """One request, for `ModelInfer`."""
        request = self._rows(asked.x)
        if asked.options.urgent:
            request.parameters[URGENT].bool_param = True
        if asked.options.caller:
            request.parameters[CALLER].string_param = asked.options.caller
        return request

    def burst(self, burst: Sequence[RemoteRequest]) -> engine_pb2.InferBurstRequest:
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
        """The result of `ModelInfer` for so many rows. Raises: ANSWER_MALFORMED."""
        arrays = self._arrays(response, rows)
        features = arrays.pop(FEATURES_OUTPUT)
        return InferenceResult.judged(arrays, features, self._detector, engine)

    def answers(
        self, response: engine_pb2.InferBurstResponse, burst: Sequence[RemoteRequest], engine: str
    ) -> list[Answer]:
        """The results of `InferBurst`, in the order of its requests. Raises: ANSWER_MALFORMED."""
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


class Method(Protocol[_Request, _Response]):
    def __call__(self, request: _Request, *, timeout: float | None) -> _Response: ...


def call(
    method: Method[_Request, _Response], request: _Request, seconds: float | None
) -> _Response:
    """The response. Raises the engine's error, or ENGINE_UNAVAILABLE."""
    try:
        return method(request, timeout=seconds)
    except grpc.RpcError as error:
        raise _refused(error) from error
    except ValueError as error:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error


def begin(method: Any, request: Any, seconds: float | None) -> "grpc.Future[Any]":
    """A call whose response is waited for elsewhere: see `outcome`. Raises: ENGINE_UNAVAILABLE."""
    try:
        return cast("grpc.Future[Any]", method.future(request, timeout=seconds))
    except ValueError as error:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error


def is_unknown(call: Any) -> bool:
    """Whether a call has ended because an engine of an older release does not know its method."""
    return call.code() is grpc.StatusCode.UNIMPLEMENTED


def outcome(call: "grpc.Future[Any]") -> Any:
    """The response of a call that has ended. Raises as `call`."""
    try:
        return call.result()
    except grpc.RpcError as error:
        raise _refused(error) from error
    except grpc.FutureCancelledError as error:
        raise SealgateError(Reason.DEADLINE_TOO_SHORT, "nobody waits any more") from error


@contextmanager
def one_stream(
    method: Callable[..., Any],
    request: oip.ModelInferRequest,
    seconds: float | None,
    on_end: OnEnd,
) -> Iterator[Iterator[oip.ModelInferResponse]]:
    """The responses to one request on a stream of its own, which ends with the block.

    Raises, while they are read, the refusal that came instead, or ENGINE_UNAVAILABLE.
    """
    try:
        stream = method(iter((request,)), timeout=seconds)
    except ValueError as error:
        raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error
    on_end(stream.cancel)
    try:
        yield _responses(stream)
    finally:
        stream.cancel()


def error_message(refusal: SealgateError) -> str:
    """How an error appears in a stream that continues: the reason's name, a colon, its sentence."""
    return f"{refusal.reason.name}: {refusal.reason.sentence}"


def _responses(stream: Any) -> Iterator[oip.ModelInferResponse]:
    try:
        for message in stream:
            if message.error_message:
                name = message.error_message.partition(":")[0]
                raise SealgateError(known_reason(name), message.error_message[:_LONGEST_DETAIL])
            yield message.infer_response
    except grpc.RpcError as error:
        raise _refused(error) from error


def _refused(error: Any) -> SealgateError:
    by_status = _BY_STATUS.get(error.code(), Reason.ENGINE_UNAVAILABLE)
    reason = _known(reason_of(error)) or by_status
    detail = (error.details() or "")[:_LONGEST_DETAIL]
    retry = retry_after_of(error)
    return SealgateError(reason, detail, None if retry is None else min(retry, LONGEST_RETRY))


def known_reason(name: str) -> Reason:
    """The reason that an engine names."""
    return _known(Reason.named(name)) or Reason.ENGINE_UNAVAILABLE


def _known(reason: Reason | None) -> Reason | None:
    """An engine of a newer release may give a reason that callers here would not know."""
    return None if reason is Reason.REASON_UNKNOWN else reason
