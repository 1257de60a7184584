"""Where engines run: in this process unless `[engine]`, or each of `[[engines]]`, names another."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.remote.settings import check_length
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError
from sealgate.trust.names import check_name


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """A unix `socket`, or an `address` (host:port) with mutual TLS: `certificate` is the engine's
    own, pinned; `client_certificate` and `client_key` are this gateway's, which the engine pins.
    All are read again when they change. `name` is what logs and records call it.
    """

    name: str = "engine"
    socket: Path | None = None
    address: str = ""
    certificate: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None

    def __post_init__(self) -> None:
        files = (self.certificate, self.client_certificate, self.client_key)
        if self.socket and (self.address or any(files)):
            raise ConfigError("[engine] takes a socket, or an address with certificates, not both")
        if self.address and not all(files):
            raise ConfigError(
                "[engine] address needs certificate (the engine's), client_certificate, client_key"
            )
        if any(files) and not self.address:
            raise ConfigError("[engine] has certificates and no address")
        if self.address and not self.address.rpartition(":")[2].isdigit():
            raise ConfigError(f"[engine] {self.address!r} is not of the form host:port")
        check_length("[engine] socket", self.socket)
        try:
            check_name(self.name)
        except Refusal:
            raise ConfigError(
                f"[engine] name = {self.name!r} is not of the form [a-z][a-z0-9-]{{0,62}}"
            ) from None

    @property
    def is_elsewhere(self) -> bool:
        """Whether it says where an engine is."""
        return bool(self.socket or self.address)


def check_engines(engines: Sequence[EngineSettings]) -> None:
    """Raises: ConfigError where one is nowhere, or two go by the same name."""
    if not all(engine.is_elsewhere for engine in engines):
        raise ConfigError("[[engines]] each need a socket, or an address with certificates")
    if len({engine.name for engine in engines}) != len(engines):
        raise ConfigError("[[engines]] need a name each, and another than [engine] has")
