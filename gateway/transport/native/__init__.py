"""The native transport: `front/` ends TLS and HTTP/2, and calls come here in bursts.

Unary inference is handed over by the crate; every other call reaches the grpcio server behind, with
the verified peer's identity. Optional: `is_available` says whether the wheel is installed.
"""

from gateway.transport.native.choice import chosen, front_limits, is_available
from gateway.transport.native.context import FrontContext
from gateway.transport.native.front import BurstHandler, NativeFront
from gateway.transport.native.upstream import UpstreamSocket

__all__ = [
    "BurstHandler",
    "FrontContext",
    "NativeFront",
    "UpstreamSocket",
    "chosen",
    "front_limits",
    "is_available",
]
