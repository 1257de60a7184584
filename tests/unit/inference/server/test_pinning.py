"""Which certificates may be pinned, and the second look at who calls."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from inference.server import tls
from inference.server.server import AccessInterceptor
from inference.server.wait_limits import WaitLimiter
from sealgate.reasons import Reason
from sealgate.settings import ConfigError
from sealgate.setup.credentials import CertificateAuthority
from tests.support.builders.documents.people import refused

AUTHORITY = CertificateAuthority("house", datetime.now(UTC), timedelta(days=1))
ENGINE = AUTHORITY.server("engine", ("engine.example", "127.0.0.1"))
GATEWAY = AUTHORITY.caller("gateway")
LIVE = "/inference.GRPCInferenceService/ServerLive"


def pinned(path: Path, data: bytes) -> x509.Certificate:
    path.write_bytes(data)
    return tls.read_pinned("[tls] gateways", [path])[0]


def test_the_peers_own_certificate(tmp_path: Path) -> None:
    found = pinned(tmp_path / "engine.pem", ENGINE.certificate)
    assert tls.name_of(found) == "engine.example"
    assert tls.pem([found]) == ENGINE.certificate


def test_the_peers_next_certificate_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "engine.pem"
    path.write_bytes(ENGINE.certificate + GATEWAY.certificate)
    assert len(tls.read_pinned("[tls] gateways", [path])) == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (AUTHORITY.pem, "an authority's certificate"),
        (GATEWAY.certificate + AUTHORITY.pem, "no chain"),
        (3 * GATEWAY.certificate, "no chain"),
        (b"", "not a certificate"),
        (GATEWAY.key, "not a certificate"),
    ],
    ids=["authority", "chain", "three", "empty", "key"],
)
def test_what_may_not_be_pinned(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pinned(tmp_path / "peer.pem", data)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        tls.read_pinned("[tls] gateways", [tmp_path / "missing.pem"])


def test_an_engine_needs_a_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="subjectAltName"):
        tls.name_of(pinned(tmp_path / "peer.pem", GATEWAY.certificate))


class TestGuard:
    @pytest.fixture
    def guard(self, tmp_path: Path) -> AccessInterceptor:
        certificate = pinned(tmp_path / "gateway.pem", GATEWAY.certificate)
        return AccessInterceptor(lambda: {certificate}, WaitLimiter(4, 60.0))

    def test_the_pinned_caller(self, guard: AccessInterceptor) -> None:
        guard.check(LIVE, {"x509_pem_cert": [GATEWAY.certificate]})

    def test_another_of_the_same_name(self, guard: AccessInterceptor) -> None:
        other = AUTHORITY.caller("gateway")
        with refused(Reason.CERTIFICATE_UNPINNED):
            guard.check(LIVE, {"x509_pem_cert": [other.certificate]})

    def test_nobody(self, guard: AccessInterceptor) -> None:
        with refused(Reason.CERTIFICATE_UNPINNED):
            guard.check(LIVE, {})

    def test_what_is_no_certificate(self, guard: AccessInterceptor) -> None:
        for shown in ([b"x"], [GATEWAY.certificate, GATEWAY.certificate]):
            with refused(Reason.CERTIFICATE_UNPINNED):
                guard.check(LIVE, {"x509_pem_cert": shown})

    def test_a_method_without_a_rule(self, guard: AccessInterceptor) -> None:
        with refused(Reason.RULE_MISSING):
            guard.check("/grpc.health.v1.Health/Watch", {})
