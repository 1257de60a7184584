"""Reads strict TOML configuration into dataclasses, one for each section.

A name that is missing, unknown or of another type is an error that says what to change.
Relative paths start at the file's own folder.
"""

import ipaddress
import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from sealgate.files import read_regular_file
from sealgate.trust.keys.pkcs11_uri import is_key_uri

_S = TypeVar("_S")
_PORT_DIGITS = 5


class ConfigError(Exception):
    """A configuration that cannot be used, with a sentence that says what to change."""


def read_settings(path: Path, kind: type[_S]) -> _S:
    """The file as a `kind`, a dataclass with a field for each section.

    A section is itself a dataclass, or a tuple of them where the file has `[[name]]`.
    Raises: ConfigError, with what to change.
    """
    try:
        document = tomllib.loads(read_regular_file(path).decode())
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; try `sealgate init`") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(document) - set(known))
    if unknown:
        raise ConfigError(f"unknown section {unknown[0]!r}; known are {', '.join(sorted(known))}")
    sections = _Sections(path.parent)
    return kind(**{name: sections.read(item, document) for name, item in known.items()})


class _Sections:
    """Builds sections from their tables; relative paths start at `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, item: Field[Any], document: Mapping[str, Any]) -> Any:
        if get_origin(item.type) is tuple:
            kind, tables = get_args(item.type)[0], document.get(item.name, [])
            if not isinstance(tables, list):
                raise ConfigError(f"[{item.name}] must be written [[{item.name}]]")
            return tuple(self._table(kind, item.name, table) for table in tables)
        return self._table(item.type, item.name, document.get(item.name, {}))

    def _table(self, kind: Any, name: str, table: Any) -> Any:
        if not isinstance(table, dict):
            raise ConfigError(f"[{name}] must be a section")
        known = {item.name: item for item in fields(kind)}
        unknown = sorted(set(table) - set(known))
        if unknown:
            raise ConfigError(f"[{name}] has no setting {unknown[0]!r}; it has {', '.join(known)}")
        values = {key: self._value(name, known[key], value) for key, value in table.items()}
        needed = [
            key
            for key, item in known.items()
            if item.init and item.default is MISSING and item.default_factory is MISSING
        ]
        if missing := [key for key in needed if key not in values]:
            raise ConfigError(f"[{name}] needs {', '.join(missing)}")
        return kind(**values)

    def _value(self, section: str, item: Any, value: Any) -> Any:
        where = f"[{section}] {item.name}"
        if item.type in (Path, Path | None):
            return self._path(where, value)
        if item.type in (Path | str, Path | str | None):
            return self._place(where, value)
        if item.type == tuple[Path, ...]:
            if not isinstance(value, list):
                raise ConfigError(f"{where} must be a list of paths")
            return tuple(self._path(where, entry) for entry in value)
        if item.type == tuple[str, ...]:
            if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                raise ConfigError(f"{where} must be a list of texts")
            return tuple(value)
        if item.type == tuple[int, ...]:
            if not isinstance(value, list) or not all(type(n) is int and n > 0 for n in value):
                raise ConfigError(f"{where} must be a list of positive whole numbers")
            return tuple(value)
        if item.type is bool and isinstance(value, bool):
            return value
        accepted = (int, float) if item.type is float else (item.type,)
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise ConfigError(f"{where} must be of type {item.type.__name__}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{where} must be a finite number")
        if isinstance(value, (int, float)) and value <= 0:
            raise ConfigError(f"{where} must be positive")
        return value

    def _path(self, where: str, value: Any) -> Path:
        if not isinstance(value, str) or not value:
            raise ConfigError(f"{where} must be a path")
        return self._folder / value

    def _place(self, where: str, value: Any) -> Path | str:
        """A URL or a key's URI as it is, or a path; SQLite's relative paths start at the folder in
        both.
        """
        if isinstance(value, str) and is_key_uri(value):
            return value
        if not isinstance(value, str) or "://" not in value:
            return self._path(where, value)
        scheme, separator, path = value.partition(":///")
        if scheme.startswith("sqlite") and separator and not path.startswith("/"):
            return f"{scheme}:///{(self._folder / path).resolve()}"
        return value


def split_host_port(address: str) -> tuple[str, str]:
    """Host, without the brackets of IPv6, and port of a host:port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), port


def check_host_port(setting: str, address: str, *, least: int = 0, any_host: bool = False) -> None:
    """Check that the value of a `setting` is of the form host:port, with a port from `least` on;
    with `any_host`, the host may be left out. Raises ConfigError, which tells `setting`.
    """
    host, port = split_host_port(address)
    is_number = port.isascii() and port.isdecimal() and len(port) <= _PORT_DIGITS
    if not (is_number and least <= int(port) < 1 << 16 and (host or any_host)):
        raise ConfigError(f"{setting} is not of the form host:port")


def is_loopback(address: str) -> bool:
    """Whether a host:port is this machine alone."""
    host, _ = split_host_port(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Metrics for Prometheus, and readiness, over HTTP without authentication and TLS."""

    listen: str = ""
    """Where metrics are served, host:port of this machine; without it nothing listens."""
    insecure_beyond_loopback: bool = False
    """Allow an address that other machines reach."""

    def __post_init__(self) -> None:
        if not self.listen:
            if self.insecure_beyond_loopback:
                raise ConfigError("[metrics] insecure_beyond_loopback needs listen")
            return
        check_host_port(f"[metrics] listen = {self.listen!r}", self.listen)
        if not (is_loopback(self.listen) or self.insecure_beyond_loopback):
            raise ConfigError(
                f"[metrics] listen = {self.listen!r} would show which models there are and how "
                "they fare to whoever reaches it; use 127.0.0.1, or, where only your own "
                "Prometheus does, add insecure_beyond_loopback = true"
            )

    @property
    def host(self) -> str:
        return split_host_port(self.listen)[0]

    @property
    def port(self) -> int:
        return int(split_host_port(self.listen)[1])
