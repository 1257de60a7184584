"""Whether a gateway uses the native transport, and within which bounds."""

from gateway.config.sections import GatewayLimits, Listeners
from sealgate.settings import ConfigError

METADATA_BYTES = 16 * 1024
_HANDSHAKE_SECONDS = 5.0
_IDLE_SECONDS = 300.0


def is_available() -> bool:
    """Whether the wheel of the native transport is installed, and none from before it had one."""
    try:
        import sealgate_front
    except ImportError:
        return False
    return hasattr(sealgate_front, "Front")


def chosen(listen: Listeners) -> bool:
    """Whether `[listen] transport` comes to the native one. Raises: ConfigError."""
    transport = listen.transport
    if transport == "native" and not is_available():
        raise ConfigError(
            '[listen] transport = "native" needs the package sealgate-front: run `make front`, or '
            'set transport = "auto"'
        )
    return transport != "grpcio" and is_available()


def front_limits(limits: GatewayLimits, room: int) -> dict[str, float]:
    """The crate's bounds for `[limits]`; each listener has `room` for more connections."""
    return {
        "message": limits.message_bytes,
        "headers": METADATA_BYTES,
        "streams": limits.streams_per_connection,
        "connections": limits.connections + room,
        "calls": limits.concurrent_calls,
        # The rest is for others, such as an admin who revokes.
        "handed": max(limits.threads + limits.waiting_calls, limits.concurrent_calls * 3 // 4),
        "handshake": _HANDSHAKE_SECONDS,
        "idle": _IDLE_SECONDS,
        "age": limits.stream,
    }
