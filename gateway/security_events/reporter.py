"""Tells of security events beside the path of requests, in a file or by syslog over TLS.

A report adds to a count, a thread writes. While the file or server cannot be reached, counts go on
and are told once it can be; nothing answers later for it, and nothing is refused. Counts are lost
when the process is killed. The answer log has every refusal of a known caller all the same.

A file has a JSON object a line. Syslog is RFC 5424, framed and secured as RFC 5425 says. It
acknowledges nothing: what was sent just before a connection broke may be lost there. `send` notices
a connection that the server has closed, and says so, instead of writing into it.
"""

import json
import logging
import os
import platform
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from gateway.security_events.kinds import EventKind, SecurityEvent, Severity
from gateway.security_events.ocsf import CountedEvent, EventGroups, ocsf
from sealgate.network.bounded_connect import connect
from sealgate.settings import ConfigError, check_host_port
from sealgate.trust.times import format_micros

_SECONDS = 5.0
_LOG_AUDIT = 13
# RFC 5424, section 6.2.1: critical, error, warning, notice.
_SYSLOG_SEVERITY = {Severity.CRITICAL: 2, Severity.HIGH: 3, Severity.MEDIUM: 4, Severity.LOW: 5}
_log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SecurityEventSettings:
    """Security events as OCSF, one JSON object each. Without a file or a server there are none."""

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
            setting = f"[security_events] syslog = {self.syslog!r}"
            check_host_port(setting, self.syslog, least=1)
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
    """Appends to a file of its owner's alone. Rotate it by renaming it: the next line opens
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
            plain = connect(*self._place, time.monotonic() + _SECONDS)
            try:
                self._connection = self._tls.wrap_socket(plain, server_hostname=self._place[0])
                self._connection.settimeout(_SECONDS)
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


class Reporter:
    """Writes what is reported to a sink, on a thread of its own."""

    def __init__(
        self,
        sink: Sink,
        window: float,
        clock: Callable[[], float] = time.time,
        retry: float = _RETRY_SECONDS,
    ) -> None:
        """`retry` is the seconds between attempts at a sink that fails."""
        self._sink = sink
        self._groups = EventGroups(window, clock)
        self._retry = retry
        self._release = version("sealgate")
        self._wake, self._ended = threading.Event(), threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="security events", daemon=True)
        self._thread.start()

    def report(self, event: SecurityEvent) -> None:
        """Count an event. Takes microseconds, from any thread."""
        if self._groups.add(event):
            self._wake.set()

    def stop(self) -> None:
        """Tell what is left, if the sink takes it, and end."""
        self._ended.set()
        self._wake.set()
        self._thread.join(_END_SECONDS)
        self._sink.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._failing:
                self._ended.wait(self._retry)
            else:
                self._wake.wait(self._groups.next_due())
            self._wake.clear()
            self._tell(self._groups.take())
        self._tell(self._groups.take_all())

    def _tell(self, events: Sequence[CountedEvent]) -> None:
        if not events:
            return
        try:
            self._sink.send([self._line(each) for each in events])
        except Exception as error:
            # No error may end this thread: without it, no event would be told any more.
            self._groups.put_back(events)
            if not self._failing:
                _log.error("security events are kept until they can be written: %s", error)
            self._failing = True
        else:
            self._failing = False

    def _line(self, counted: CountedEvent) -> EventLine:
        text = json.dumps(ocsf(counted, self._release))
        return EventLine(counted.event.kind, counted.first, text)


class _Current:
    """The process's reporter, if it has one."""

    reporter: Reporter | None = None


_current: Final = _Current()


def start(settings: SecurityEventSettings) -> None:
    """Report from now on what the settings ask for. Raises: ConfigError."""
    sink = open_sink(settings)
    if sink is not None:
        _current.reporter = Reporter(sink, settings.window)


def stop() -> None:
    """Write what is left, and report nothing any more."""
    reporter, _current.reporter = _current.reporter, None
    if reporter is not None:
        reporter.stop()


def is_on() -> bool:
    """Whether anybody is told of security events."""
    return _current.reporter is not None


def report(event: SecurityEvent | None) -> None:
    """Tell of an event, if there is one, and somebody to be told."""
    if event is not None and (reporter := _current.reporter) is not None:
        reporter.report(event)
