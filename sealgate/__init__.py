"""Sealgate: `connect` and `connect_aio` are its client; each part is a package of its own."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealgate.client.client import connect as connect
    from sealgate.client.client import connect_aio as connect_aio


# `sealgate.connect` is the client's name to its users. It is looked up only when it is used, so
# that importing any other part of the package (servers do) loads none of the client.
def __getattr__(name: str) -> Any:
    if name in ("connect", "connect_aio"):
        from sealgate.client import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
