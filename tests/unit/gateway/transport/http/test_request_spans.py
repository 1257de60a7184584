"""An HTTP request has a span that follows the caller's `traceparent`."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import h11
import pytest

from gateway.admission.stream_limiter import StreamLimiter
from gateway.calls.call import Call
from gateway.config.sections import GatewayLimits
from gateway.transport.http.connection import Request
from gateway.transport.http.gateway import DisconnectWatch, HttpGateway
from inference.observability import tracing
from inference.observability.tracing import ParentSpan
from sealgate.reasons import Reason, SealgateError

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


class Spans:
    """A tracer that keeps which calls there were, and what was said within one."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ParentSpan | None]] = []
        self.said: list[str] = []
        self._is_inside = False

    @contextmanager
    def _inside(self) -> Iterator[None]:
        self._is_inside = True
        yield
        self._is_inside = False

    def call(self, name: str, parent: ParentSpan | None) -> AbstractContextManager[None]:
        self.calls.append((name, parent))
        return self._inside()

    def say(self, **attributes: str) -> None:
        assert self._is_inside
        self.said.append(attributes["outcome"])


class Refuses:
    """An auth interceptor that lets nobody in."""

    def admit(self, call: Call, method: str) -> None:
        raise SealgateError(Reason.CREDENTIAL_MISSING)

    def refused(self, call: Call, error: Exception) -> tuple[Exception, None]:
        return error, None


@pytest.mark.parametrize(
    ("values", "parent"),
    [
        ((GOOD,), ParentSpan(int(TRACE, 16), int(SPAN, 16), 1)),
        ((GOOD, GOOD), None),
        (("x",), None),
        ((), None),
    ],
)
def test_a_request_follows_the_callers_trace(
    monkeypatch: pytest.MonkeyPatch, values: tuple[str, ...], parent: ParentSpan | None
) -> None:
    spans = Spans()
    monkeypatch.setattr(tracing, "active_tracer", spans)
    nobody: Any = None
    refuses: Any = Refuses()
    peer: Any = SimpleNamespace(properties={})
    headers = [("host", "a"), *(("traceparent", value) for value in values)]
    head = h11.Request(method="GET", target="/v2", headers=headers)
    limits = GatewayLimits()
    gateway = HttpGateway(
        nobody, refuses, StreamLimiter(limits), DisconnectWatch(), limits, Counter()
    )
    assert gateway.answer(Request(head, peer, nobody, nobody)).status == 401
    assert spans.calls == [("/inference.GRPCInferenceService/ServerMetadata", parent)]
    assert spans.said == ["ok"]
