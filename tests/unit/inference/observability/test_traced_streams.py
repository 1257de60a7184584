"""A stream is one span, in whichever threads its parts are made."""

import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from inference.observability import tracing
from inference.observability.otlp import OtlpTracer

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
METADATA = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracer = OtlpTracer(SimpleSpanProcessor(exporter), 1.0, "test")
    monkeypatch.setattr(tracing, "active_tracer", tracer)
    yield exporter
    tracer.close()


def parts(ended: list[str] | None = None) -> Generator[int, None, None]:
    try:
        for number in range(3):
            with tracing.span(f"part {number}"):
                pass
            yield number
    finally:
        tracing.say(outcome="over")
        if ended is not None:
            ended.append("over")


def stream(items: Generator[int, None, None]) -> Iterator[int]:
    return tracing.stream("call", lambda: METADATA, items)


def found(told: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in told.get_finished_spans()}


def test_its_parts_are_below_it_and_it_below_the_callers(told: InMemorySpanExporter) -> None:
    assert list(stream(parts())) == [0, 1, 2]
    spans = found(told)
    assert format(spans["call"].parent.span_id, "016x") == SPAN
    assert {format(span.context.trace_id, "032x") for span in spans.values()} == {TRACE}
    for number in range(3):
        assert spans[f"part {number}"].parent.span_id == spans["call"].context.span_id
    assert spans["call"].attributes == {"sealgate.outcome": "over"}
    assert spans["call"].end_time >= spans["part 2"].end_time


def test_between_its_parts_a_thread_is_free_for_others(told: InMemorySpanExporter) -> None:
    items = stream(parts())
    for _ in range(3):
        next(items)
        assert trace.get_current_span() is trace.INVALID_SPAN
        with tracing.span("of another"):
            pass
    assert next(items, None) is None
    assert found(told)["of another"].parent is None


def test_every_part_may_be_made_by_another_thread(told: InMemorySpanExporter) -> None:
    items, taken = stream(parts()), []
    for _ in range(3):
        thread = threading.Thread(target=lambda: taken.append(next(items)))
        thread.start()
        thread.join()
    assert taken == [0, 1, 2]
    assert list(items) == []
    assert len(found(told)) == 4


def test_it_ends_where_it_is_broken_off(told: InMemorySpanExporter) -> None:
    ended: list[str] = []
    items: Any = stream(parts(ended))
    next(items)
    items.close()
    assert ended == ["over"]
    assert found(told)["call"].attributes == {"sealgate.outcome": "over"}


def test_an_error_goes_through_and_is_not_told(told: InMemorySpanExporter) -> None:
    def failing() -> Generator[int, None, None]:
        yield 1
        raise RuntimeError("of a caller's making")

    items = stream(failing())
    assert next(items) == 1
    with pytest.raises(RuntimeError):
        next(items)
    (span,) = told.get_finished_spans()
    assert not span.events
    assert span.status.description is None


def test_off_it_is_the_stream_itself() -> None:
    items = parts()
    assert tracing.stream("call", lambda: 1 / 0, items) is items
