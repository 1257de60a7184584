"""Traces of real requests: in a gateway, and across gateway and engine by OTLP."""

from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from inference.observability import tracing
from inference.observability.tracing import TraceSettings
from sealgate.reasons import Reason
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows
from tests.support.harness.processes.engine_process import EngineProcess
from tests.support.harness.rollouts import await_true

INFER = "/inference.GRPCInferenceService/ModelInfer"
WANTED = {
    *(("sealgate-gateway", name) for name in (INFER, "authenticate", "record")),
    *(("sealgate-engine", name) for name in (INFER, "queue", "run", "screen")),
}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-00"
SECRET = "the-patient-is-ill"


class Receiver(TraceServiceServicer):
    """An OTLP receiver: OpenTelemetry's own messages and service. `spans` are by name, of one
    trace.
    """

    def __init__(self) -> None:
        self.received: list[tuple[str, Any]] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name)
        for resource in request.resource_spans:
            (name,) = [a.value.string_value for a in resource.resource.attributes]
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            self.received += [(name, span) for span in spans]
        return otlp.ExportTraceServiceResponse()

    def spans(self, trace: str) -> list[tuple[str, Any]]:
        return [item for item in self.received if item[1].trace_id.hex() == trace]

    def close(self) -> None:
        self._server.stop(None)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def at_once() -> Iterator[None]:
    """Spans are sent together, every five seconds unless the SDK is told otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield


@pytest.fixture(scope="module")
def harness(
    tmp_path_factory: pytest.TempPathFactory,
    receiver: Receiver,
    at_once: None,
) -> Iterator[GatewayHarness]:
    """With an engine in a process of its own; both send what they trace to the receiver."""
    state = tmp_path_factory.mktemp("traces") / "state"
    harness = GatewayHarness(state, engine=EnginePlace())
    with (state / "engine.toml").open("a") as settings:
        settings.write(f'\n[traces]\nendpoint = "{receiver.endpoint}"\n')
    engine = EngineProcess(state)
    engine.start()
    tracing.start(TraceSettings(receiver.endpoint), "sealgate-gateway")
    try:
        harness.start()
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()
        tracing.stop()
        if engine.runs:
            engine.stop()


def attributes(span: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


def test_a_request_is_one_trace_through_both_processes(
    harness: GatewayHarness, receiver: Receiver
) -> None:
    asked = question("digits", rows())
    asked.id = asked.parameters["subject"].string_param = SECRET
    harness.inference().ModelInfer(asked, timeout=60, metadata=[("traceparent", GOOD)])
    await_true(lambda: {(name, span.name) for name, span in receiver.spans(TRACE)} >= WANTED)
    found = receiver.spans(TRACE)
    calls = {process: span for process, span in found if span.name == INFER}
    gateway, engine = calls["sealgate-gateway"], calls["sealgate-engine"]
    # Below the caller's own span, and the engine's call below ours.
    assert gateway.parent_span_id.hex() == SPAN
    assert engine.parent_span_id == gateway.span_id
    below = {(process, span.name): span for process, span in found if span not in calls.values()}
    for process, name, parent in (
        ("sealgate-gateway", "authenticate", gateway),
        ("sealgate-gateway", "record", gateway),
        ("sealgate-engine", "queue", engine),
        ("sealgate-engine", "run", engine),
        ("sealgate-engine", "screen", engine),
    ):
        span = below[process, name]
        assert span.parent_span_id == parent.span_id, name
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert parent.start_time_unix_nano <= span.start_time_unix_nano + 1_000_000
        assert span.end_time_unix_nano <= parent.end_time_unix_nano + 1_000_000
    told = attributes(gateway)
    assert (told["sealgate.model"], told["sealgate.version"]) == ("digits", "1")
    assert (told["sealgate.verdict"], told["sealgate.outcome"]) == ("clean", "ok")
    assert SECRET not in str(found)


def test_a_refusal_says_why(harness: GatewayHarness, receiver: Receiver) -> None:
    trace = "1" * 32
    asked = question("nobody", rows())
    header = [("traceparent", f"00-{trace}-{SPAN}-01")]
    assert refusal(harness.inference().ModelInfer, asked, metadata=header) is Reason.MODEL_UNKNOWN
    await_true(lambda: any(s.name == INFER for _, s in receiver.spans(trace)))
    (span,) = [span for _, span in receiver.spans(trace) if span.name == INFER]
    assert attributes(span)["sealgate.outcome"] == Reason.MODEL_UNKNOWN.name
    assert not span.events
    assert not span.status.message


def test_what_is_no_traceparent_begins_a_trace_of_its_own(
    harness: GatewayHarness, receiver: Receiver
) -> None:
    odd = "2" * 32
    before = len(receiver.received)
    header = [("traceparent", f"00-{odd}-{SPAN}-01-{SECRET}"), ("tracestate", f"x={SECRET}")]
    harness.inference().ModelInfer(question("digits", rows()), timeout=60, metadata=header)

    def roots() -> list[Any]:
        spans = [span for process, span in receiver.received[before:] if "gateway" in process]
        return [span for span in spans if span.name == INFER and not span.parent_span_id]

    await_true(lambda: bool(roots()))
    assert receiver.spans(odd) == []
    assert SECRET not in str(receiver.received)
