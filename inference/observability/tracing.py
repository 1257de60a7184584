"""Tracing: how long the parts of a request take, in gateway and engine.

Tracing is off unless `[traces]` names an endpoint; then nothing here has an effect, and
OpenTelemetry is not loaded. A caller's W3C `traceparent` is followed if it is well formed, and is
passed on to engines. Nothing else that a caller sends becomes part of a trace.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from inference.observability.trace_context import TRACEPARENT, Metadata, ParentSpan, parent_in
from sealgate.settings import ConfigError

_OFF: AbstractContextManager[None] = nullcontext()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """The section `[traces]`: where traces are sent. It needs the extra `otel`."""

    endpoint: str = ""
    """Where traces go by OTLP over gRPC, as http://host:port or https://host:port; without it there
    are none.
    """
    share: float = 1.0
    """Which share of the requests is traced, up to 1."""

    def __post_init__(self) -> None:
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ConfigError(f"[traces] endpoint = {self.endpoint!r} is no http(s) address")
        if self.share > 1:
            raise ConfigError("[traces] share must not be greater than 1")


class CallSpan(Protocol):
    """The span of a call whose work is done in parts, by any thread."""

    def within(self) -> AbstractContextManager[Any]: ...

    def end(self, attributes: Mapping[str, str]) -> None:
        """End it now; empty attributes are left out."""
        ...


class Tracer(Protocol):
    """Makes spans. Times are in nanoseconds of the monotonic clock."""

    def call(self, name: str, parent: ParentSpan | None) -> AbstractContextManager[Any]: ...

    def stream(
        self, name: str, parent: ParentSpan | None, items: Generator[T, None, None]
    ) -> Iterator[T]: ...

    def span(self, name: str) -> AbstractContextManager[Any]: ...

    def past(self, name: str, began: int, ended: int) -> None: ...

    def begin(self, name: str, parent: ParentSpan | None) -> CallSpan: ...

    def say(self, **attributes: str) -> None: ...

    def traceparent(self) -> str: ...

    def close(self) -> None: ...


active_tracer: Tracer | None = None


def start(settings: TraceSettings, service: str) -> None:
    """Start tracing as the settings say; `service` is this process's name in traces.

    Raises: ConfigError if OpenTelemetry is not installed.
    """
    global active_tracer
    if not settings.endpoint:
        return
    try:
        from inference.observability.otlp import OtlpTracer
    except ModuleNotFoundError as error:
        raise ConfigError(f"[traces] needs {error.name}: pip install '.[otel]'") from error
    active_tracer = OtlpTracer.sending(settings.endpoint, settings.share, service)


def stop() -> None:
    """Send what is left, and stop tracing."""
    global active_tracer
    tracer, active_tracer = active_tracer, None
    if tracer is not None:
        tracer.close()


def is_on() -> bool:
    """Whether anything is traced."""
    return active_tracer is not None


def call(name: str, metadata: Callable[[], Metadata]) -> AbstractContextManager[Any]:
    """The span of an incoming call with this metadata; it covers the block."""
    return _OFF if active_tracer is None else active_tracer.call(name, parent_in(metadata()))


def stream(
    name: str, metadata: Callable[[], Metadata], items: Generator[T, None, None]
) -> Iterator[T]:
    """The same items. Making them is part of the span of a call with this metadata, which ends with
    them; each item may be taken by another thread.
    """
    return (
        items if active_tracer is None else active_tracer.stream(name, parent_in(metadata()), items)
    )


def span(name: str) -> AbstractContextManager[Any]:
    """A span of this thread's work in the block."""
    return _OFF if active_tracer is None else active_tracer.span(name)


def past(name: str, began: int, ended: int) -> None:
    """A span of finished work; times are in nanoseconds of the monotonic clock."""
    if active_tracer is not None:
        active_tracer.past(name, began, ended)


def begin(name: str, metadata: Callable[[], Metadata]) -> CallSpan | None:
    """The span of an incoming call with this metadata, which is answered among others; None where
    nothing is traced.
    """
    return None if active_tracer is None else active_tracer.begin(name, parent_in(metadata()))


def within(span: CallSpan | None) -> AbstractContextManager[Any]:
    """This thread's work in the block is a part of the call's span."""
    return _OFF if span is None else span.within()


def say(**attributes: str) -> None:
    """Add attributes to this thread's span; empty ones are left out."""
    if active_tracer is not None:
        active_tracer.say(**{name: value for name, value in attributes.items() if value})


def outgoing() -> tuple[tuple[str, str], ...]:
    """The metadata that continues the trace in another process."""
    return () if active_tracer is None else ((TRACEPARENT, active_tracer.traceparent()),)
