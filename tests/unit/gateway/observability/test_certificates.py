"""When certificates expire, by where they are configured."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config.document import EngineSettings, GeneratorSettings
from gateway.config.sections import TlsFiles
from gateway.observability.collector import Certificates
from gateway.transport.tls import REFUSED, TAKEN, ServerTls
from sealgate.settings import ConfigError
from sealgate.setup.credentials import CertificateAuthority

NOW = datetime.now(UTC).replace(microsecond=0)


def pem(path: Path, *days: int) -> Path:
    """A file with a certificate for each of some lifetimes."""
    chain = [CertificateAuthority("someone", NOW, timedelta(days=each)).pem for each in days]
    path.write_bytes(b"".join(chain))
    return path


def engine(folder: Path, name: str = "fast") -> EngineSettings:
    own, ours = folder / "engine.pem", folder / "ours.pem"
    return EngineSettings(name, None, "10.0.0.1:1", own, ours, folder / "ours.key")


def configuration(*engines: EngineSettings) -> Any:
    return SimpleNamespace(all_engines=engines, generator=GeneratorSettings())


def test_a_chain_ends_with_the_first_of_its_certificates(tmp_path: Path) -> None:
    made = CertificateAuthority("servers", NOW, timedelta(days=90)).server(
        "gateway", ("localhost",)
    )
    ended = pem(tmp_path / "chain.pem", 30).read_bytes()
    (tmp_path / "chain.pem").write_bytes(made.certificate + ended)
    (tmp_path / "key.pem").write_bytes(made.key)
    tls = ServerTls(TlsFiles(tmp_path / "chain.pem", tmp_path / "key.pem"))
    certificates = Certificates(tls, configuration())
    assert certificates.expiries() == {"tls": NOW + timedelta(days=30)}
    assert certificates.renewed() == {TAKEN: 0, REFUSED: 0}
    (tmp_path / "new.pem").write_bytes(made.certificate)
    (tmp_path / "new.pem").replace(tmp_path / "chain.pem")
    assert certificates.expiries() == {"tls": NOW + timedelta(days=90)}
    assert certificates.renewed() == {TAKEN: 1, REFUSED: 0}


def test_engines_are_told_apart_by_name(tmp_path: Path) -> None:
    pem(tmp_path / "engine.pem", 10)
    pem(tmp_path / "ours.pem", 20)
    certificates = Certificates(None, configuration(engine(tmp_path)))
    assert certificates.expiries() == {
        "fast: certificate": NOW + timedelta(days=10),
        "fast: client_certificate": NOW + timedelta(days=20),
    }
    assert certificates.renewed() == {}


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_what_is_no_certificate_is_refused(tmp_path: Path, content: bytes | None) -> None:
    pem(tmp_path / "ours.pem", 20)
    if content is not None:
        (tmp_path / "engine.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=r"engine\.pem"):
        Certificates(None, configuration(engine(tmp_path)))
