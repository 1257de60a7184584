"""Reads an engine's requests for inference, alone and in bursts, and writes its answers.

An answer has one output more than the model's, `FEATURES_OUTPUT`: the screening features of each
row, which the gateway judges and removes.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from inference.batching import RequestOptions
from inference.engine import InferenceResult
from inference.model.inputs import model_input
from inference.server.host import EngineHost
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Kind, Reason, SealgateError
from sealgate.remote.errors import retry_after
from sealgate.tensors import Tensor, read_inputs, write_outputs
from sealgate.trust.fields import check_name, version_number
from sealgate.v1 import engine_pb2

_log = logging.getLogger(__name__)

FEATURES_OUTPUT = "sealgate_features"
DIGEST, URGENT, CALLER = "digest", "urgent", "caller"
MOST_ITEMS = 256
"""As many requests as a burst may have."""


def answer_burst(
    host: EngineHost,
    burst: engine_pb2.InferBurstRequest,
    seconds: float,
    active: Callable[[], bool],
) -> engine_pb2.InferBurstResponse:
    """Run each request of a burst within `seconds` and its own time, while the call is `active`.

    Raises: as for one request, where it is no single one's fault; PARAMETER_MALFORMED,
    BATCH_TOO_LARGE if there are too many.
    """
    rows, items = burst.rows, burst.items
    model = check_name(rows.model_name, Reason.NAME_MALFORMED)
    digest = str(read_parameters(rows.parameters, {DIGEST: "string_param"}).get(DIGEST, ""))
    live = host.resolve(model, version_number(rows.model_version), digest)
    lengths = [item.rows for item in items]
    if len(items) > MOST_ITEMS:
        raise SealgateError(Reason.BATCH_TOO_LARGE, f"{len(items)} requests")
    if not lengths or not all(lengths):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "rows")
    x = model_input(live.config, read_inputs(rows), sum(lengths))
    if len(x) != sum(lengths):
        raise SealgateError(Reason.PARAMETER_MALFORMED, "rows")
    now = time.monotonic()
    options = [
        RequestOptions(
            now + (min(seconds, item.seconds) if item.seconds > 0 else seconds),
            active,
            item.urgent,
            item.caller,
        )
        for item in items
    ]
    parts = np.split(x, np.cumsum(lengths)[:-1])
    answers = host.infer_all(live, list(zip(parts, options, strict=True)))
    return _response(answers)


def _response(answers: Sequence[InferenceResult | SealgateError]) -> engine_pb2.InferBurstResponse:
    response = engine_pb2.InferBurstResponse()
    for place, answer in enumerate(answers):
        if isinstance(answer, SealgateError):
            if answer.reason.kind is Kind.INTERNAL:
                _log.error("a request of a burst failed: %s", answer)
            response.refusals.add(
                place=place,
                reason=answer.reason.name,
                retry_seconds=retry_after(answer),
            )
    write_answers(response.rows, [each for each in answers if isinstance(each, InferenceResult)])
    return response


def write_answers(response: oip.ModelInferResponse, answers: Sequence[InferenceResult]) -> None:
    """The outputs and features of all their rows."""
    if not answers:
        return
    outputs = {
        name: np.concatenate([answer.outputs[name] for answer in answers])
        for name in answers[0].outputs
    }
    outputs[FEATURES_OUTPUT] = np.concatenate([answer.features for answer in answers])
    write_outputs(response, [Tensor.of(name, data) for name, data in outputs.items()])


def read_parameters(given: Any, kinds: dict[str, str]) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is None or kinds.get(name) != kind:
            raise SealgateError(Reason.PARAMETER_MALFORMED, name[:64])
        found[name] = getattr(value, kind)
    return found
