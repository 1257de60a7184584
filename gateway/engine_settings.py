"""Where the engine runs: in this process unless the section `[engine]` names another."""

from dataclasses import dataclass
from pathlib import Path

from inference.remote.settings import check_length
from sealgate.settings import ConfigError


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """A unix `socket`, or an `address` (host:port) with mutual TLS: `certificate` is the engine's
    own, pinned; `client_certificate` and `client_key` are this gateway's, which the engine pins.
    """

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
