"""Where security events go: a file with a JSON object a line, or syslog over TLS.

Syslog is RFC 5424, framed and secured as RFC 5425 says. It acknowledges nothing: what was sent just
before a connection broke may be lost there. `send` notices a connection that the server has closed,
and says so, instead of writing into it.
"""

import os
import platform
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from gateway.security_events.kinds import EventKind, Severity
from sealgate.settings import ConfigError
from sealgate.trust.times import format_micros

_SECONDS = 5.0
_LOG_AUDIT = 13
# RFC 5424, section 6.2.1: critical, error, warning, notice.
_SYSLOG_SEVERITY = {Severity.CRITICAL: 2, Severity.HIGH: 3, Severity.MEDIUM: 4, Severity.LOW: 5}


@dataclass(frozen=True, slots=True)
class SecurityEventSettings:
    """Security events as OCSF, one JSON object each; without `file` and `syslog` there are none."""

    file: Path | None = None
    """A file that events are appended to, a line each. It may be renamed while it is written."""
    syslog: str = ""
    """A syslog server, host:port, that takes events over TLS (RFC 5425)."""
    authority: Path | None = None
    """The authorities (PEM) that the syslog server's certificate must come from; by default the
    system's.
    """
    certificate: Path | None = None
    """The certificate (PEM) that the syslog server is shown, if it asks for one."""
    key: Path | None = None
    """The private key of `certificate`."""
    window: float = 60.0
    """For how many seconds events that are alike are counted before the next line tells of them.
    The first is told at once.
    """

    def __post_init__(self) -> None:
        if self.file and self.syslog:
            raise ConfigError("[security_events] takes either file or syslog")
        if self.syslog:
            host, _, port = self.syslog.rpartition(":")
            if not (host and port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
                raise ConfigError(
                    f"[security_events] syslog = {self.syslog!r} is not of the form host:port"
                )
        elif self.authority or self.certificate or self.key:
            raise ConfigError("[security_events] authority, certificate and key need syslog")
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("[security_events] certificate and key belong together")


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event as text: one line of ASCII, its kind, and when it first happened."""

    kind: EventKind
    time: float
    text: str


class Sink(Protocol):
    def send(self, lines: Sequence[EventLine]) -> None:
        """Raises OSError where they may not have arrived; they are sent again, then."""
        ...

    def close(self) -> None: ...


def open_sink(settings: SecurityEventSettings) -> Sink | None:
    """The sink that the settings name, if any. Raises: ConfigError."""
    if settings.file is not None:
        return FileSink(settings.file)
    return SyslogSink(settings) if settings.syslog else None


class FileSink:
    """Appends to a file of its owner's alone. Whoever rotates it renames it: the next line opens
    another.
    """

    def __init__(self, path: Path) -> None:
        """Raises: ConfigError where it cannot be written."""
        self._path = path
        # Whether a line was begun, and may not be whole.
        self._torn = False
        try:
            os.close(self._open())
        except OSError as error:
            raise ConfigError(
                f"[security_events] file = {str(path)!r}: {error.strerror}"
            ) from error

    def send(self, lines: Sequence[EventLine]) -> None:
        data = "".join(f"{each.text}\n" for each in lines).encode()
        descriptor = self._open()
        try:
            data = b"\n" + data if self._torn else data
            self._torn = True
            while data:
                data = data[os.write(descriptor, data) :]
            self._torn = False
        finally:
            os.close(descriptor)

    def close(self) -> None:
        pass

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)


class SyslogSink:
    """Sends to a syslog server whose certificate is for its name. Used by one thread."""

    def __init__(self, settings: SecurityEventSettings) -> None:
        """Raises: ConfigError where a certificate or key cannot be read."""
        host, _, port = settings.syslog.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._name = platform.node() or "-"
        try:
            self._tls = ssl.create_default_context(cafile=settings.authority)
            if settings.certificate is not None:
                self._tls.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"[security_events] authority, certificate, key: {error}") from error
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        self._connection: ssl.SSLSocket | None = None

    def send(self, lines: Sequence[EventLine]) -> None:
        connection = self._connected()
        try:
            connection.sendall(b"".join(self._frame(each) for each in lines))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> ssl.SSLSocket:
        if self._connection is not None and _has_ended(self._connection):
            self.close()
        if self._connection is None:
            plain = socket.create_connection(self._place, _SECONDS)
            try:
                self._connection = self._tls.wrap_socket(plain, server_hostname=self._place[0])
            except OSError:
                plain.close()
                raise
        return self._connection

    def _frame(self, line: EventLine) -> bytes:
        """RFC 5425: the message's length in octets, a space, the message (RFC 5424)."""
        priority = _LOG_AUDIT * 8 + _SYSLOG_SEVERITY[line.kind.severity]
        time = format_micros(datetime.fromtimestamp(line.time, UTC))
        head = f"<{priority}>1 {time} {self._name} sealgate {os.getpid()} {line.kind.name} -"
        message = f"{head} {line.text}".encode()
        return b"%d %s" % (len(message), message)


def _has_ended(connection: ssl.SSLSocket) -> bool:
    """Whether the server has closed the connection; it never sends anything."""
    connection.settimeout(0.0)
    try:
        connection.recv(1)
    except (ssl.SSLWantReadError, BlockingIOError):
        connection.settimeout(_SECONDS)
        return False
    except OSError:
        return True
    return True
