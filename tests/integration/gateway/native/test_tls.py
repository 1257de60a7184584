"""TLS of the native transport: who is let in, what is known of them, new certificates."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from gateway.auth.certificates import ClientCertificate
from gateway.config.sections import Listeners, TlsFiles
from gateway.transport.native import chosen
from gateway.transport.tls import ServerTls
from sealgate.settings import ConfigError
from sealgate.setup.credentials import CertificateAuthority
from tests.support.harness.native_front import (
    ECHO,
    INFER,
    FrontHarness,
    echo,
    front_with,
    listeners,
)

NOW = datetime.now(UTC)
PATIENCE = 60
SERVERS = CertificateAuthority("servers", NOW, timedelta(days=9))
CALLERS = CertificateAuthority("callers", NOW, timedelta(days=9))
OTHERS = CertificateAuthority("others", NOW, timedelta(days=9))


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def put(files: TlsFiles, authority: CertificateAuthority) -> None:
    made = authority.server("gateway", ("localhost", "127.0.0.1", "::1"))
    assert files.certificate is not None
    assert files.key is not None
    for path, data in ((files.key, made.key), (files.certificate, made.certificate)):
        other = path.with_suffix(".new")
        other.write_bytes(data)
        other.replace(path)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    (tmp_path / "callers.pem").write_bytes(CALLERS.pem)
    files = TlsFiles(tmp_path / "tls.pem", tmp_path / "tls.key", tmp_path / "callers.pem")
    put(files, SERVERS)
    return files


@pytest.fixture
def front(files: TlsFiles) -> Iterator[FrontHarness]:
    with front_with(echo, ServerTls(files)) as front:
        yield front


def channel(
    front: FrontHarness,
    listener: str,
    caller: CertificateAuthority | None = None,
    *uris: str,
    server: CertificateAuthority = SERVERS,
) -> grpc.Channel:
    pair = caller.caller("somebody", *uris) if caller else None
    credentials = grpc.ssl_channel_credentials(
        server.pem, pair and pair.key, pair and pair.certificate
    )
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"localhost:{front.front.ports[listener]}", credentials, options)


def test_a_callers_certificate_is_shown_on_both_ways(front: FrontHarness) -> None:
    identity = "spiffe://example.org/somebody"
    with channel(front, "mutual", CALLERS, identity) as caller:
        caller.unary_unary(INFER)(b"", timeout=PATIENCE)
        caller.unary_unary(ECHO)(b"", timeout=PATIENCE)
    for context in (front.bursts[0][0], front.behind.contexts[0]):
        certificate = ClientCertificate.of(context, datetime.now(UTC))
        assert certificate is not None
        assert certificate.identity == f"spiffe:{identity}"


def test_without_a_certificate_nothing_is_shown(front: FrontHarness) -> None:
    with channel(front, "tls") as caller:
        caller.unary_unary(INFER)(b"", timeout=PATIENCE)
        caller.unary_unary(ECHO)(b"", timeout=PATIENCE)
    for context in (front.bursts[0][0], front.behind.contexts[0]):
        assert ClientCertificate.of(context, datetime.now(UTC)) is None


@pytest.mark.parametrize("caller", [None, OTHERS], ids=["none", "of another authority"])
def test_others_are_not_let_in(front: FrontHarness, caller: CertificateAuthority | None) -> None:
    with channel(front, "mutual", caller) as channel_, pytest.raises(grpc.RpcError) as caught:
        channel_.unary_unary(INFER)(b"", timeout=PATIENCE)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not front.bursts


def test_a_certificate_on_the_other_listener_is_not_looked_at(front: FrontHarness) -> None:
    with channel(front, "tls", OTHERS) as caller:
        caller.unary_unary(INFER)(b"", timeout=PATIENCE)
    assert front.bursts[0][0].auth_context() == {}


def test_new_certificates_are_served_and_old_connections_go_on(
    front: FrontHarness, files: TlsFiles
) -> None:
    with channel(front, "tls") as before:
        infer = before.unary_unary(INFER)
        infer(b"", timeout=PATIENCE)
        peer = front.bursts[-1][0].peer()
        put(files, OTHERS)

        def is_served() -> bool:
            with channel(front, "tls", server=OTHERS) as after:
                try:
                    return bool(after.unary_unary(INFER)(b"x", timeout=PATIENCE))
                except grpc.RpcError:
                    return False

        until(is_served)
        infer(b"", timeout=PATIENCE)
        assert front.bursts[-1][0].peer() == peer


def test_another_protocol_is_not_agreed_on(front: FrontHarness) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        first_byte(front, "http/1.1")


def test_who_says_no_protocol_is_closed(front: FrontHarness) -> None:
    assert first_byte(front) == b""


def first_byte(front: FrontHarness, *protocols: str) -> bytes:
    """Return the server's first byte after a handshake that offers these protocols."""
    context = ssl.create_default_context(cadata=SERVERS.pem.decode())
    context.set_alpn_protocols(protocols)
    address = ("127.0.0.1", front.front.ports["tls"])
    with (
        socket.create_connection(address, timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return secure.recv(1)


def test_a_handshake_that_is_not_ended_is_closed(files: TlsFiles) -> None:
    with front_with(echo, ServerTls(files), handshake=0.2) as front:
        address = ("127.0.0.1", front.front.ports["tls"])
        with socket.create_connection(address, timeout=PATIENCE) as silent:
            silent.sendall(b"\x16\x03\x01")
            assert silent.recv(1) == b""
        until(lambda: front.front.counts()["connections"] == 0)


def test_ipv6_is_spoken(files: TlsFiles) -> None:
    tls = ServerTls(files)
    with front_with(echo, tls, listeners(tls, "[::1]")) as front:
        with channel(front, "tls") as caller:
            caller.unary_unary(INFER)(b"", timeout=PATIENCE)
            caller.unary_unary(ECHO)(b"", timeout=PATIENCE)
        for context in (front.bursts[0][0], front.behind.contexts[0]):
            assert context.peer().startswith("ipv6:%5B::1%5D:")


def test_a_transport_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(Listeners(tls="127.0.0.1:1"))
    assert chosen(Listeners(tls="127.0.0.1:1", transport="native"))
    assert not chosen(Listeners(tls="127.0.0.1:1", transport="grpcio"))
    monkeypatch.setattr("gateway.transport.native.choice.is_available", lambda: False)
    assert not chosen(Listeners(tls="127.0.0.1:1"))
    with pytest.raises(ConfigError, match="make front"):
        chosen(Listeners(tls="127.0.0.1:1", transport="native"))
    with pytest.raises(ConfigError, match="none of auto, native, grpcio"):
        Listeners(tls="127.0.0.1:1", transport="other")
