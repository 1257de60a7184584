"""rsyslog takes our events over TLS, and we take no server but the one that is meant."""

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.security_events import EventKind, SecurityEventSettings
from gateway.security_events.reporter import EventLine, SyslogSink
from sealgate.setup.credentials import CertificateAuthority
from tests.support.harness.deployment import until
from tests.support.harness.servers.rsyslog_server import RsyslogServer

LINE = EventLine(EventKind.ADVERSARIAL_INPUT, 1_700_000_000.25, json.dumps({"count": 3}))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RsyslogServer]:
    running = RsyslogServer(tmp_path)
    yield running
    running.stop()


def send(sink: SyslogSink, *lines: EventLine) -> None:
    """As soon as the server listens."""

    def sent() -> bool:
        try:
            sink.send(lines)
        except ConnectionError:
            return False
        return True

    until(sent)


def test_rsyslog_reads_every_field(server: RsyslogServer) -> None:
    sink = SyslogSink(SecurityEventSettings(syslog=server.address, authority=server.authority))
    send(sink, LINE, LINE)
    first, second = server.taken(2)
    sink.close()
    # Facility 13 (log audit), severity 3 (error).
    assert first["priority"] == "107"
    assert first["time"].startswith("2023-11-14T22:13:20.250000")
    assert (first["program"], first["kind"]) == ("sealgate", "ADVERSARIAL_INPUT")
    assert json.loads(first["message"]) == {"count": 3}
    assert second["message"] == first["message"]


def test_a_connection_that_the_server_ended_is_made_again(server: RsyslogServer) -> None:
    sink = SyslogSink(SecurityEventSettings(syslog=server.address, authority=server.authority))
    send(sink, LINE)
    server.taken(1)
    server.stop()
    server.start()
    send(sink, LINE)
    server.taken(2)
    sink.close()


def test_another_server_is_told_nothing(server: RsyslogServer, tmp_path: Path) -> None:
    send(SyslogSink(SecurityEventSettings(syslog=server.address, authority=server.authority)), LINE)
    other = tmp_path / "other.pem"
    authority = CertificateAuthority("other", datetime.now(UTC), timedelta(days=1))
    other.write_bytes(authority.pem)
    sink = SyslogSink(SecurityEventSettings(syslog=server.address, authority=other))
    _refuse(sink)
    by_address = server.address.replace("localhost", "127.0.0.1")
    named = SyslogSink(SecurityEventSettings(syslog=by_address, authority=server.authority))
    _refuse(named)
    assert len(server.taken(1)) == 1


def _refuse(sink: SyslogSink) -> None:
    """Send in vain: the server's certificate is not trusted. A server that is busy may reset a
    connection before it shows its certificate.
    """
    reset = True
    while reset:
        with pytest.raises((ssl.SSLCertVerificationError, ConnectionResetError)) as caught:
            sink.send([LINE])
        reset = caught.type is ConnectionResetError
