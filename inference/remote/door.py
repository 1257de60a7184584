"""How a gateway reaches an engine: by a unix socket that is its own, or by TLS with pinned ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

from inference.remote import pinning, sockets
from inference.remote.handing_on import traced
from sealgate.file_stamps import Stamps, stamps

_LARGEST_MESSAGE = 64 * 1024 * 1024
_OPTIONS = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.enable_http_proxy", 0),
    # An engine that is back is found at once.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
# A network that is cut tells neither end: pings do, while a call is in progress.
_PINGS = (
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # One by which gRPC measures the way may be out already; no other is sent before its end.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)


class Door(Protocol):
    def check(self) -> None:
        """Check what is there before it is connected to. Raises Refusal."""
        ...

    def open(self) -> grpc.Channel:
        """A channel, which connects when it is used."""
        ...

    def stamps(self) -> Stamps:
        """Another value where what it is opened with has changed."""
        ...


@dataclass(frozen=True, slots=True)
class SocketDoor:
    """A unix socket."""

    path: Path

    def check(self) -> None:
        """Raises: ENGINE_UNAVAILABLE, SOCKET_EXPOSED."""
        sockets.check_socket(self.path)

    def stamps(self) -> Stamps:
        return ()

    def open(self) -> grpc.Channel:
        return traced(grpc.insecure_channel(f"unix:{self.path.absolute()}", _OPTIONS))


@dataclass(frozen=True, slots=True)
class TlsDoor:
    """An `address`, host:port, at which the engine shows the very certificate of the file
    `engine`; `certificate` and `key` are this gateway's own, which the engine has pinned.
    """

    address: str
    engine: Path
    certificate: Path
    key: Path

    def check(self) -> None:
        """Nothing: TLS itself looks at each connection."""

    def stamps(self) -> Stamps:
        return stamps((self.engine, self.certificate, self.key))

    def open(self) -> grpc.Channel:
        """Raises: ConfigError for files that cannot be used."""
        pinned = pinning.read_pinned("[engine] certificate", [self.engine])
        own = pinning.read_pair("[engine]", self.key, self.certificate)
        credentials = grpc.ssl_channel_credentials(pinning.pem(pinned), *own)
        # Which certificate it is matters, not under which of its names the engine is reached.
        name = ("grpc.ssl_target_name_override", pinning.name_of(pinned[0]))
        return traced(grpc.secure_channel(self.address, credentials, (*_OPTIONS, *_PINGS, name)))
