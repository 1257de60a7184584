"""A version's model as a foreign server serves it, in the place of the INT8 graph.

Which bytes run over there cannot be seen from here; only what they answer can. So wherever a batch
has room for one row more, a golden row rides along, and where its answer is off, the batch is
refused: a server whose model was exchanged is found out by its first few answers.
"""

import itertools
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from inference.golden import Golden
from inference.model_config import ModelConfig
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, Refusal
from sealgate.tensors import Tensor, write_inputs

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class Line(Protocol):
    """How a model asks its server."""

    def infer(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        """Raises: ENGINE_UNAVAILABLE."""
        ...


class ForeignModel:
    """Answers as the INT8 graph would. Safe for many threads."""

    def __init__(
        self,
        line: Line,
        named: tuple[str, str],
        config: ModelConfig,
        golden: Golden,
        tolerance: float,
    ) -> None:
        """`named` is the server's name for the model, and for its version or nothing."""
        self._line = line
        self._name, self._version = named
        self._config = config
        self._golden = golden
        self._tolerance = tolerance
        self._turn = itertools.count()

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The logits [n, C] of the rows [n, …] in `feeds`.

        Raises: ENGINE_UNAVAILABLE; ANSWER_MALFORMED for another name, type or shape, or where a
        logit is not finite; GOLDEN_MISMATCH.
        """
        x = feeds[self._config.input.name]
        if len(x) >= self._config.batching.max_rows:
            return [self._ask(x)]
        turn = next(self._turn) % len(self._golden.x)
        expected = Golden(self._golden.x[turn : turn + 1], self._golden.logits[turn : turn + 1])
        logits = self._ask(np.concatenate([x, expected.x]))
        expected.check(logits[len(x) :], self._tolerance)
        return [logits[: len(x)]]

    def _ask(self, x: Array) -> Floats:
        request = oip.ModelInferRequest(model_name=self._name, model_version=self._version)
        write_inputs(request, [Tensor.of(self._config.input.name, x)])
        request.outputs.add(name=self._config.output.name)
        response = self._line.infer(request)
        told = response.model_version
        if response.model_name != self._name or (told and self._version not in ("", told)):
            raise _malformed("it is of another model or version")
        return _read(response, self._config.output.name, (len(x), *self._config.output.row))


def _read(response: oip.ModelInferResponse, name: str, shape: tuple[int, ...]) -> Floats:
    """The one output of that name, raw or typed; further outputs are left where they are."""
    places = [at for at, output in enumerate(response.outputs) if output.name == name]
    if len(places) != 1:
        raise _malformed("it has not one output of the model's name")
    output, raws = response.outputs[places[0]], response.raw_output_contents
    if output.datatype != "FP32" or tuple(output.shape) != shape:
        raise _malformed("its output has another type or shape")
    if raws:
        raw = raws[places[0]] if len(raws) == len(response.outputs) else b""
    else:
        raw = np.array(output.contents.fp32_contents, "<f4").tobytes()
    if len(raw) != 4 * shape[0] * shape[1]:
        raise _malformed("its output has another size")
    logits = np.frombuffer(raw, "<f4").reshape(shape)
    if not np.isfinite(logits).all():
        raise _malformed("a logit is not finite")
    return logits


def _malformed(detail: str) -> Refusal:
    return Refusal(Reason.ANSWER_MALFORMED, detail)
