"""A witness's configuration: `[witness]`, and a `[[logs]]` for each log that it cosigns."""

from dataclasses import dataclass
from pathlib import Path

from sealgate.reasons import Refusal
from sealgate.settings import ConfigError, is_loopback, read_settings
from sealgate.trust.transparency import note


@dataclass(frozen=True, slots=True)
class WitnessSection:
    """`key`: an Ed25519 private key, a PEM file or a pkcs11: URI. `database`: what was cosigned.

    `certificate` and `certificate_key` are needed beyond this machine.
    """

    name: str
    """What its cosignatures call it, such as `witness.example`."""
    listen: str
    """host:port."""
    key: Path | str
    database: Path
    certificate: Path | None = None
    certificate_key: Path | None = None

    def __post_init__(self) -> None:
        try:
            note.check_name(self.name)
        except Refusal:
            raise ConfigError(f"[witness] name = {self.name!r} has blanks or a +") from None
        if not self.listen.rpartition(":")[2].isdigit():
            raise ConfigError(f"[witness] listen = {self.listen!r} is not of the form host:port")
        if (self.certificate is None) != (self.certificate_key is None):
            raise ConfigError("[witness] certificate and certificate_key go together")
        if self.certificate is None and not is_loopback(self.listen):
            raise ConfigError(
                f"[witness] listen = {self.listen!r} is not this machine alone: set certificate "
                "and certificate_key, or listen on 127.0.0.1 behind a proxy"
            )


@dataclass(frozen=True, slots=True)
class LogSection:
    """`key`: the log's verifier key (C2SP), whose name is its origin."""

    key: str

    def __post_init__(self) -> None:
        try:
            note.Verifier.from_vkey(self.key)
        except Refusal as refusal:
            raise ConfigError(f"[[logs]] key = {self.key!r}: {refusal.detail}") from None

    @property
    def origin(self) -> str:
        return note.Verifier.from_vkey(self.key).name


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    witness: WitnessSection
    logs: tuple[LogSection, ...]

    def __post_init__(self) -> None:
        if not self.logs:
            raise ConfigError("[[logs]] is missing: name the key of each log to cosign")
        if len({log.origin for log in self.logs}) != len(self.logs):
            raise ConfigError("[[logs]] names an origin twice")

    @classmethod
    def read(cls, path: Path) -> "WitnessConfig":
        """Raises: ConfigError, with what to change."""
        return read_settings(path, cls)
