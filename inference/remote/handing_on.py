"""Hands a gateway's trace on to its engines, where there is one: see `inference.tracing`."""

from collections.abc import Callable
from typing import Any

import grpc

from inference import tracing
from sealgate.call_details import CallDetails


def traced(channel: grpc.Channel) -> grpc.Channel:
    """The channel itself where nothing is traced; or one whose calls name the caller's span."""
    return grpc.intercept_channel(channel, _HandingOn()) if tracing.is_on() else channel


class _HandingOn(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        return continuation(_with_trace(client_call_details), request)

    def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        return continuation(_with_trace(client_call_details), request_iterator)


def _with_trace(details: Any) -> CallDetails:
    metadata = (*(details.metadata or ()), *tracing.outgoing())
    return CallDetails.of(details, metadata=metadata)
