"""Calls that end in time: a check that waits for ever finds nothing."""

from collections.abc import Callable
from typing import Any

import grpc

from sealgate.call_details import CallDetails


class _InTime(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        bounded = client_call_details.timeout or self._seconds
        return continuation(CallDetails.of(client_call_details, timeout=bounded), request)

    intercept_unary_stream = intercept_unary_unary


def in_time(channel: grpc.Channel, seconds: float) -> grpc.Channel:
    """The channel, whose calls to methods with one request take so long at most."""
    return grpc.intercept_channel(channel, _InTime(seconds))
