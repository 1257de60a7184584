"""Hands a gateway's trace on to its engines, where there is one: see `inference.tracing`."""

from collections.abc import Callable
from typing import Any

import grpc

from inference import tracing
from sealgate.call_details import CallDetails


def traced(channel: grpc.Channel) -> grpc.Channel:
    """The channel itself where nothing is traced; or one whose calls name the caller's span."""
    return grpc.intercept_channel(channel, _HandingOn()) if tracing.is_on() else channel


class _HandingOn(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        metadata = (*(client_call_details.metadata or ()), *tracing.outgoing())
        return continuation(CallDetails.of(client_call_details, metadata=metadata), request)
