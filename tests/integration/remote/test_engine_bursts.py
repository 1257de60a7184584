"""Bursts at an engine, behind its real socket: each request ends as it would alone."""

import numpy as np
import pytest

from inference.backends.remote.endpoint import SocketEndpoint
from inference.backends.remote.messages import RemoteRequest, VersionMessages
from inference.backends.remote.remote_engine import RemoteEngine
from inference.batching.job import RequestOptions
from inference.server.requests import answer_burst
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, write_inputs
from sealgate.trust.statements.covering import EngineCounts
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import EngineServiceStub
from tests.support.builders.documents.people import refused
from tests.support.builders.models.version_files import VersionFiles, clean_rows
from tests.support.fakes.registry import UncheckedVersion
from tests.support.harness.engine import EngineHarness
from tests.support.harness.engine_outcomes import FILES, MODEL
from tests.support.harness.gateway import refusal


@pytest.fixture
def version(harness: EngineHarness) -> UncheckedVersion:
    made = harness.publish(FILES)
    harness.registry.promote(made)
    harness.show()
    return made


def burst(version: UncheckedVersion, *rows: int) -> engine_pb2.InferBurstRequest:
    request = oip.ModelInferRequest(model_name="digits", model_version=str(version.number))
    request.parameters["digest"].string_param = version.digest
    write_inputs(request, [Tensor.of("x", clean_rows(MODEL, sum(rows)))])
    items = [engine_pb2.BurstItem(rows=count) for count in rows]
    return engine_pb2.InferBurstRequest(rows=request, items=items)


def run(harness: EngineHarness, request: engine_pb2.InferBurstRequest):
    return EngineServiceStub(harness.channel).InferBurst(request, timeout=60)


def arrays(response: oip.ModelInferResponse) -> dict[str, np.ndarray]:
    return {
        tensor.name: np.frombuffer(raw, np.float32).reshape(tuple(tensor.shape))
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def test_rows_are_answered_as_they_would_be_alone(
    harness: EngineHarness, version: UncheckedVersion
) -> None:
    found = arrays(run(harness, burst(version, 1, 3, 2)).rows)
    alone = arrays(harness.ask(version, clean_rows(MODEL, 6)))
    assert found.keys() == alone.keys()
    assert np.array_equal(found["logits"], alone["logits"])
    assert np.allclose(found["sealgate_features"], alone["sealgate_features"], 1e-3, 1e-3)
    ((_, requests, rows),) = EngineCounts.decode(harness.host.counts().payload).counts
    assert (requests, rows) == (4, 12)


def test_each_request_has_its_own_bounds(harness: EngineHarness, version: UncheckedVersion) -> None:
    request = burst(version, 1, 17, 2, 1)
    request.items[3].seconds = 1e-9
    response = run(harness, request)
    assert {each.place: each.reason for each in response.refusals} == {
        1: "BATCH_TOO_LARGE",
        3: "DEADLINE_TOO_SHORT",
    }
    assert len(arrays(response.rows)["logits"]) == 3


class Noting:
    """A host that answers nothing, and keeps how requests are scheduled."""

    def __init__(self, harness: EngineHarness) -> None:
        self.resolve = harness.host.resolve
        self.options: list[RequestOptions] = []

    def infer_all(self, live, requests):
        self.options = [options for _, options in requests]
        return []


def test_callers_and_urgency_reach_the_queue(
    harness: EngineHarness, version: UncheckedVersion
) -> None:
    request = burst(version, 1, 1)
    request.items[0].caller, request.items[1].urgent = "ann", True
    request.items[1].seconds = 5.0
    noting = Noting(harness)
    answer_burst(noting, request, 9.0, lambda: True)  # type: ignore[arg-type]
    one, other = noting.options
    assert (one.caller, one.urgent, other.caller, other.urgent) == ("ann", False, "", True)
    assert one.deadline is not None
    assert other.deadline is not None
    assert one.deadline - other.deadline == pytest.approx(4.0)


def without(request: engine_pb2.InferBurstRequest, *places: int) -> None:
    for place in places:
        del request.items[place]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.rows.parameters["digest"].Clear(), Reason.PARAMETER_MALFORMED),
        (lambda r: r.rows.parameters.pop("digest"), Reason.VERSION_NOT_LIVE),
        (lambda r: setattr(r.rows, "model_name", "Digits!"), Reason.NAME_MALFORMED),
        (lambda r: setattr(r.rows, "model_version", "x"), Reason.VERSION_MALFORMED),
        (lambda r: setattr(r.rows, "model_version", "2"), Reason.VERSION_NOT_LIVE),
        (lambda r: setattr(r.items[0], "rows", 0), Reason.PARAMETER_MALFORMED),
        (lambda r: setattr(r.items[0], "rows", 2), Reason.PARAMETER_MALFORMED),
        (lambda r: without(r, 0), Reason.BATCH_TOO_LARGE),
        (lambda r: without(r, 1, 0), Reason.PARAMETER_MALFORMED),
        (lambda r: r.items.extend([engine_pb2.BurstItem(rows=1)] * 256), Reason.BATCH_TOO_LARGE),
        (lambda r: setattr(r.rows.inputs[0], "name", "y"), Reason.TENSOR_NAME),
        (lambda r: r.rows.raw_input_contents.pop(), Reason.TENSOR_BYTES),
    ],
)
def test_a_burst_of_another_form(
    harness: EngineHarness, version: UncheckedVersion, change, reason: Reason
) -> None:
    request = burst(version, 1, 1)
    change(request)
    assert refusal(run, harness, request) is reason


def test_a_gateway_and_its_engine(harness: EngineHarness, version: UncheckedVersion) -> None:
    """The gateway's end sends what the engine takes, and reads what it answers."""
    source = VersionFiles.of(MODEL)
    messages = VersionMessages(
        "digits", version.number, version.digest, source.config, source.detector
    )
    x = clean_rows(MODEL, 3)
    requests = [
        RemoteRequest(x[:1], RequestOptions()),
        RemoteRequest(x[1:], RequestOptions(caller="ann")),
    ]
    remote = RemoteEngine(SocketEndpoint(harness.socket))
    response = remote.end(remote.begin(messages, requests), together=True)
    one, other = messages.answers(response, requests, "here")
    whole = remote.begin(messages, [RemoteRequest(x, RequestOptions())])
    alone = messages.answer(remote.end(whole, together=False), 3, "")
    found = np.concatenate([one.outputs["logits"], other.outputs["logits"]])
    assert np.array_equal(found, alone.outputs["logits"])
    assert one.engine == "here"
    wrong = VersionMessages("digits", 7, version.digest, source.config, source.detector)
    with refused(Reason.ENGINE_UNAVAILABLE):
        remote.end(remote.begin(wrong, requests), together=True)
    assert remote.takes_bursts
    remote.close()
