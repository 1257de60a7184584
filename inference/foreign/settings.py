"""Where a foreign server of the protocol is: the section `[foreign_engine]`."""

import string
from dataclasses import dataclass
from pathlib import Path

from sealgate.settings import ConfigError, is_loopback

_FIELDS = frozenset({"model", "version"})


@dataclass(frozen=True, slots=True)
class ForeignSettings:
    """A server's `address` (host:port, gRPC) and what it is to be called in logs and metadata.

    Without `authority`, which signs its certificate, only loopback may be named; `certificate` and
    `key` are what this gateway shows it. `model` and `version` say what the server calls a version:
    text in which `{model}` and `{version}` stand for ours; an empty `version` asks for none.
    `tolerance` is how far a golden answer may be off, absolute and relative; `timeout` is in
    seconds a call; `lanes` is how many batches are on their way at once.
    """

    address: str = ""
    name: str = "foreign"
    """What logs and metadata call it."""
    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    model: str = "{model}"
    version: str = "{version}"
    tolerance: float = 1e-5
    timeout: float = 10.0
    lanes: int = 4

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("[foreign_engine] certificate and key come together")
        if self.certificate and not self.authority:
            raise ConfigError("[foreign_engine] certificate needs authority, the server's own")
        if not 0 <= self.tolerance <= 0.1 or self.timeout <= 0 or not 1 <= self.lanes <= 64:
            raise ConfigError(
                "[foreign_engine] tolerance is 0 to 0.1, timeout positive, lanes 1 to 64"
            )
        if not self.name.isprintable() or not 1 <= len(self.name) <= 64 or '"' in self.name:
            raise ConfigError("[foreign_engine] name is 1 to 64 printable characters")
        for setting in ("model", "version"):
            _check_pattern(setting, getattr(self, setting))
        if self.address and not self.address.rpartition(":")[2].isdigit():
            raise ConfigError(f"[foreign_engine] {self.address!r} is not of the form host:port")
        if self.address and not self.authority and not is_loopback(self.address):
            raise ConfigError(
                f"[foreign_engine] {self.address} is not this machine: give authority, for TLS"
            )

    def named(self, model: str, version: int) -> tuple[str, str]:
        """What the server calls this version: its model's name, and its version's."""
        return (
            self.model.format(model=model, version=version),
            self.version.format(model=model, version=version),
        )


def _check_pattern(setting: str, pattern: str) -> None:
    try:
        parts = [part[1:] for part in string.Formatter().parse(pattern)]
    except ValueError:
        parts = [("", None, None)]
    # Neither attributes nor formats: names alone.
    if any(
        name is not None and (name not in _FIELDS or form or turn) for name, form, turn in parts
    ):
        raise ConfigError(f"[foreign_engine] {setting} may hold {{model}} and {{version}} alone")
    if setting == "model" and not any(name == "model" for name, *_ in parts):
        raise ConfigError("[foreign_engine] model must hold {model}")
