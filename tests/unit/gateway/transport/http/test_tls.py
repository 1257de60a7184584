"""TLS for HTTP goes with the gRPC listeners' certificates, also when their files change."""

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.config.sections import TlsFiles
from gateway.transport.http.peer import HttpTls, tls_context
from gateway.transport.tls import ServedCertificate, ServerTls
from sealgate.settings import ConfigError
from sealgate.setup.credentials import CertificateAuthority


def written(folder: Path) -> TlsFiles:
    authority = CertificateAuthority("servers", datetime.now(UTC), timedelta(days=1))
    pair = authority.server("gateway", ("localhost",))
    for name, content in (
        ("server.pem", pair.certificate),
        ("server.key", pair.key),
        ("callers.pem", authority.pem),
    ):
        # As whoever renews a file: another takes its place.
        (folder / "new").write_bytes(content)
        (folder / "new").replace(folder / name)
    return TlsFiles(folder / "server.pem", folder / "server.key", folder / "callers.pem")


def test_callers_are_asked_only_where_there_is_an_authority(tmp_path: Path) -> None:
    served = ServedCertificate.read(written(tmp_path))
    assert tls_context(served).verify_mode is ssl.CERT_OPTIONAL
    alone = ServedCertificate(served.key, served.certificate, None, served.expiries)
    assert tls_context(alone).verify_mode is ssl.CERT_NONE


def test_new_files_are_served_at_the_next_handshake(tmp_path: Path) -> None:
    tls = HttpTls(ServerTls(written(tmp_path)))
    before = tls.context
    assert tls.context is before
    written(tmp_path)
    assert tls.context is not before


def test_what_openssl_does_not_take(tmp_path: Path) -> None:
    served = ServedCertificate.read(written(tmp_path))
    with pytest.raises(ConfigError, match=r"\[http\]"):
        tls_context(ServedCertificate(b"", served.certificate, None, served.expiries))


def write_pair(folder: Path) -> TlsFiles:
    authority = CertificateAuthority("servers", datetime.now(UTC), timedelta(days=1))
    pair = authority.server("gateway", ("localhost",))
    for name, content in (("server.pem", pair.certificate), ("server.key", pair.key)):
        (folder / "new").write_bytes(content)
        (folder / "new").replace(folder / name)
    return TlsFiles(folder / "server.pem", folder / "server.key")


def test_a_certificate_that_could_not_be_loaded_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: Any) -> int:
        raise OSError(24, "Too many open files")

    tls = HttpTls(ServerTls(write_pair(tmp_path)))
    old = tls.context
    write_pair(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "memfd_create", none_left)
        with pytest.raises(OSError, match="Too many"):
            _ = tls.context
    assert tls.context is not old
