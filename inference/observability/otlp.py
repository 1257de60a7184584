"""Sends traces to an OTLP receiver with OpenTelemetry's SDK."""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Self, TypeVar

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from inference.observability.trace_context import ParentSpan

T = TypeVar("T")


class OtlpTracer:
    """The spans of one process. The trace's id decides whether a request is traced, so gateway and
    engine decide alike; a caller's flag has no influence.
    """

    def __init__(self, processor: SpanProcessor, share: float, service: str) -> None:
        # By hand: what the environment says of resources and samplers is not looked at.
        self._provider = TracerProvider(
            TraceIdRatioBased(share), Resource({"service.name": service}), shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("sealgate")

    @classmethod
    def sending(cls, endpoint: str, share: float, service: str) -> Self:
        """To an OTLP receiver; what does not reach it in time is dropped."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint)), share, service)

    @contextmanager
    def call(self, name: str, parent: ParentSpan | None) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name,
            _below(parent),
            SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield

    def stream(
        self, name: str, parent: ParentSpan | None, items: Generator[T, None, None]
    ) -> Iterator[T]:
        span = self._tracer.start_span(name, _below(parent), SpanKind.SERVER)
        here = trace.set_span_in_context(span)
        try:
            while True:
                # Not between items: then this thread may work for others.
                with _within(here):
                    item = next(items, _END)
                if isinstance(item, _End):
                    return
                yield item
        finally:
            with _within(here):
                items.close()
            span.end()

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ):
            yield

    def past(self, name: str, began: int, ended: int) -> None:
        offset = time.time_ns() - time.monotonic_ns()
        self._tracer.start_span(name, start_time=began + offset).end(ended + offset)

    def begin(self, name: str, parent: ParentSpan | None) -> "OtlpCallSpan":
        return OtlpCallSpan(self._tracer.start_span(name, _below(parent), SpanKind.SERVER))

    def say(self, **attributes: str) -> None:
        trace.get_current_span().set_attributes(_named(attributes))

    def traceparent(self) -> str:
        here = trace.get_current_span().get_span_context()
        return f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"

    def close(self) -> None:
        self._provider.shutdown()


def _named(attributes: Mapping[str, str]) -> dict[str, str]:
    return {f"sealgate.{name}": value for name, value in attributes.items()}


class OtlpCallSpan:
    """A `tracing.CallSpan`."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._here = trace.set_span_in_context(span)

    def within(self) -> AbstractContextManager[None]:
        return _within(self._here)

    def end(self, attributes: Mapping[str, str]) -> None:
        self._span.set_attributes(_named({k: text for k, text in attributes.items() if text}))
        self._span.end()


class _End:
    """After the last item."""


_END = _End()


def _below(parent: ParentSpan | None) -> context.Context:
    """Where a call's span belongs: below the caller's, where it named one."""
    around = context.Context()
    if parent is None:
        return around
    flags = TraceFlags(parent.flags)
    above = SpanContext(parent.trace, parent.span, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(above), around)


@contextmanager
def _within(here: context.Context) -> Iterator[None]:
    token = context.attach(here)
    try:
        yield
    finally:
        context.detach(token)
