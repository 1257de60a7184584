"""What interceptors of a client's calls need: gRPC's details of a call, with changes."""

from typing import Any, NamedTuple


class CallDetails(NamedTuple):
    """All that gRPC says of a call before it is made, and takes back; see
    `grpc.ClientCallDetails`.
    """

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: bool | None
    compression: Any

    @classmethod
    def of(cls, details: Any, **changes: Any) -> "CallDetails":
        return cls(*(getattr(details, name) for name in cls._fields))._replace(**changes)
