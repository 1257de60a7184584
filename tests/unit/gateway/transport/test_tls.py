"""Which certificates a gateway serves when their files change."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.config.sections import TlsFiles
from gateway.transport.tls import REFUSED, TAKEN, ServerTls
from sealgate.settings import ConfigError
from sealgate.setup.credentials import Certificate, CertificateAuthority

NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = CertificateAuthority("servers", NOW, timedelta(days=90))


def made(days: int = 30) -> Certificate:
    return CertificateAuthority("servers", NOW, timedelta(days=days)).server(
        "gateway", ("localhost",)
    )


def expired() -> Certificate:
    authority = CertificateAuthority("servers", NOW - timedelta(days=9), timedelta(days=1))
    return authority.server("gateway", ("localhost",))


def write(path: Path, data: bytes) -> None:
    """As whoever renews a file: another takes its place. Times of change alone are too coarse."""
    other = path.with_suffix(".new")
    other.write_bytes(data)
    other.replace(path)


def put(tls: TlsFiles, certificate: Certificate) -> None:
    write(tls.certificate, certificate.certificate)
    write(tls.key, certificate.key)


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    found = TlsFiles(tmp_path / "gateway.pem", tmp_path / "gateway.key", tmp_path / "callers.pem")
    put(found, made())
    write(found.client_authority, AUTHORITY.pem)
    return found


def test_what_stands_is_read_once(tls: TlsFiles) -> None:
    server = ServerTls(tls)
    assert server.served is server.served
    assert server.renewed == {TAKEN: 0, REFUSED: 0}
    ends = {"tls": NOW + timedelta(days=30), "client_authority": NOW + timedelta(days=90)}
    assert server.served.expiries == ends


def test_what_is_new_is_served(tls: TlsFiles) -> None:
    server, new = ServerTls(tls), made(60)
    put(tls, new)
    assert (server.served.certificate, server.served.key) == (new.certificate, new.key)
    assert server.served.expiries["tls"] == NOW + timedelta(days=60)
    write(tls.client_authority, CertificateAuthority("others", NOW, timedelta(days=9)).pem)
    assert server.served.expiries["client_authority"] == NOW + timedelta(days=9)
    assert server.renewed == {TAKEN: 2, REFUSED: 0}


def test_the_same_again_is_nothing_new(tls: TlsFiles) -> None:
    server = ServerTls(tls)
    before = server.served
    write(tls.key, tls.key.read_bytes())
    assert server.served is before
    assert server.renewed == {TAKEN: 0, REFUSED: 0}


SPOILT: dict[str, Callable[[TlsFiles], object]] = {
    "no certificate": lambda tls: write(tls.certificate, b"hello"),
    "an empty one": lambda tls: write(tls.certificate, b""),
    "none at all": lambda tls: tls.certificate.unlink(),
    "a key that is none": lambda tls: write(tls.key, b"hello"),
    "no key": lambda tls: tls.key.unlink(),
    "no pair": lambda tls: write(tls.certificate, made(50).certificate),
    "no authority": lambda tls: write(tls.client_authority, b"hello"),
    "expired": lambda tls: put(tls, expired()),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_what_cannot_be_used_leaves_what_is_served(
    tls: TlsFiles, spoil: Callable[[TlsFiles], object], caplog: pytest.LogCaptureFixture
) -> None:
    server = ServerTls(tls)
    before = server.served
    spoil(tls)
    with caplog.at_level(logging.ERROR):
        assert [server.served, server.served, server.served] == [before] * 3
    # Once for each state of the files, however many come.
    assert caplog.text.count("the certificates that are served stay") == 1
    assert server.renewed == {TAKEN: 0, REFUSED: 1}
    new = made(70)
    put(tls, new)
    write(tls.client_authority, AUTHORITY.pem)
    assert server.served.certificate == new.certificate


def test_files_may_change_one_after_another(tls: TlsFiles) -> None:
    server, new = ServerTls(tls), made(60)
    before = server.served
    write(tls.certificate, new.certificate)
    assert server.served is before
    write(tls.key, new.key)
    assert server.served.certificate == new.certificate


@pytest.mark.parametrize("spoil", [SPOILT[name] for name in ("no pair", "none at all", "no key")])
def test_a_gateway_does_not_start_on_what_cannot_be_used(
    tls: TlsFiles, spoil: Callable[[TlsFiles], object]
) -> None:
    spoil(tls)
    with pytest.raises(ConfigError, match=r"gateway\."):
        ServerTls(tls)


def test_without_a_certificate_there_is_nothing_to_serve() -> None:
    assert ServerTls.of(TlsFiles()) is None
