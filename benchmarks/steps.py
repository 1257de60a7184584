"""Microseconds for each step of a request, measured one by one in this process.

The steps are those of `gateway.pipeline.infer`, with the same parts that a gateway is built of;
what gRPC, TLS and the network take is not among them.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demo.questions import question
from gateway.app import build, now
from gateway.auth.authenticate import issuer
from gateway.auth.tokens import TokenVerifier
from gateway.calls.params import read_params
from gateway.config.document import GatewayConfig
from gateway.recording.recorder import AuditRecord
from inference.model.inputs import model_input
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.remote import Profile
from sealgate.tensors import Tensor, read_inputs, write_outputs
from sealgate.trust.receipts.answer_entry import tensors_digest

_TIMES = 300


def measure_steps(state: Path, rows: npt.NDArray[Any]) -> dict[str, float]:
    """The median of each step's time, in microseconds, for one row of the digits model."""
    config = GatewayConfig.read(state / "gateway.toml")
    gateway = build(config)
    gateway.start()
    try:
        return _steps(config, state, gateway, rows)
    finally:
        gateway.stop()


def _steps(
    config: GatewayConfig, state: Path, gateway: Any, rows: npt.NDArray[Any]
) -> dict[str, float]:
    issuers = [issuer(entry) for entry in config.tokens]
    verifier = TokenVerifier(issuers)
    token_file = Profile.read(state / "people" / "client" / "profile.toml").token
    token = token_file.read_text().strip() if token_file else ""
    wire = question("digits", rows[:1], receipt=True).SerializeToString()
    request = oip.ModelInferRequest.FromString(wire)
    live = gateway.engine.resolve("digits", None, "production")
    tensors = read_inputs(request)
    array = model_input(live.config, tensors)
    answer = gateway.engine.infer(live, array)
    outputs = [Tensor.of(name, data) for name, data in answer.outputs.items()]
    outcome = _outcome(live, answer)
    receipt = gateway.recorder.record(outcome)

    def respond() -> bytes:
        response = oip.ModelInferResponse(model_name="digits", model_version="1")
        write_outputs(response, outputs)
        response.parameters["receipt"].string_param = receipt.encode().decode()
        return response.SerializeToString()

    return {
        "verify the token (ES256)": _median(lambda: TokenVerifier(issuers).identity(token)),
        "know the token again": _median(lambda: verifier.identity(token)),
        "parse the request": _median(lambda: read_params(oip.ModelInferRequest.FromString(wire))),
        "resolve the alias": _median(lambda: gateway.engine.resolve("digits", None, "production")),
        "read and check tensors": _median(lambda: model_input(live.config, read_inputs(request))),
        "digests of input and output": _median(
            lambda: [
                tensors_digest((t.name, t.datatype, t.shape, t.raw) for t in side)
                for side in (tensors.values(), outputs)
            ]
        ),
        "screen and infer": _median(lambda: gateway.engine.infer(live, array)),
        "record, durably": _median(lambda: gateway.recorder.record(outcome)),
        "receipt and response": _median(respond),
    }


def _outcome(live: Any, answer: Any) -> AuditRecord:
    return AuditRecord(
        subject="client",
        time=now(),
        principal="client",
        method="/inference.GRPCInferenceService/ModelInfer",
        model="digits",
        version=str(live.version),
        version_digest=live.digest,
        pointer_sequence=str(live.sequence),
        policy_digest=live.policy,
        input="sha256:" + "0" * 64,
        output="sha256:" + "0" * 64,
        outcome="answered",
        verdict=answer.verdict.value,
        score=repr(answer.score),
        threshold=repr(answer.threshold),
        engine=live.ready.engine,
    )


def _median(step: Callable[[], object]) -> float:
    times = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return float(np.median(times) * 1e6)
