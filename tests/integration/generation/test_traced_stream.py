"""A streamed answer is one trace, from the caller through the gateway to what generates it."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from inference.observability import tracing
from inference.observability.otlp import OtlpTracer
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.tensors import Tensor, write_inputs
from tests.support.builders.models.text_models import asked as texts
from tests.support.fakes.blocking_worker import until
from tests.support.harness.generator import generating

METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PROMPT = "The following identifiers are used as reserved words"


def test_it_is_one_trace(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    tracer = OtlpTracer(SimpleSpanProcessor(exporter), 1.0, "test")
    # Before anything opens a channel, as a process does it.
    monkeypatch.setattr(tracing, "active_tracer", tracer)
    request = oip.ModelInferRequest(model_name="tiny")
    request.parameters["max_tokens"].int64_param = 12
    write_inputs(request, [Tensor.of("text_input", texts(PROMPT).reshape(1))])
    header = [("traceparent", f"00-{TRACE}-{SPAN}-01")]
    with generating(tmp_path / "state", folder) as harness:
        list(harness.inference().ModelStreamInfer(iter([request]), timeout=60, metadata=header))

        def spans() -> list:
            return [
                span
                for span in exporter.get_finished_spans()
                if format(span.context.trace_id, "032x") == TRACE
            ]

        until(lambda: len([span for span in spans() if span.name == METHOD]) == 2)
        found = spans()
    by_parent = {span.parent.span_id: span for span in found if span.name == METHOD}
    gateway = by_parent[int(SPAN, 16)]
    assert gateway.context.span_id in by_parent
    assert gateway.attributes["sealgate.outcome"] == "ok"
    below = [span.name for span in found if span.parent.span_id == gateway.context.span_id]
    # Its caller is looked at again with each part, and told of once.
    assert below.count("authenticate") == 1
    assert below.count("record") >= 1
    assert PROMPT not in str([span.to_json() for span in found])
