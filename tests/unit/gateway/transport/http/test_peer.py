"""The HTTP gateway reads a client certificate as gRPC does."""

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from gateway.auth.certificates import ClientCertificate
from gateway.transport.http.peer import HttpContext, Peer
from sealgate.reasons import Reason, SealgateError
from sealgate.setup.credentials import CertificateAuthority

NOW = datetime.now(UTC)
AUTHORITY = CertificateAuthority("callers", NOW, timedelta(days=1))
SPIFFE = "spiffe://example.org/batch"


def der(*uris: str) -> bytes:
    pem = AUTHORITY.caller("anna", *uris).certificate
    return load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


class Shown:
    """A call whose certificate is this one."""

    def __init__(self, certificate: bytes) -> None:
        with socket.socket() as unused:
            self.auth_context = HttpContext(Peer(unused, certificate), []).auth_context


@pytest.mark.parametrize(
    ("uris", "identity"),
    [
        ((), "mtls:anna"),
        (("https://example.org/anna",), "mtls:anna"),
        ((SPIFFE,), f"spiffe:{SPIFFE}"),
    ],
)
def test_whom_a_certificate_names(uris: tuple[str, ...], identity: str) -> None:
    certificate = der(*uris)
    found = ClientCertificate.of(Shown(certificate), NOW)
    assert found is not None
    assert found.identity == identity
    assert load_pem_x509_certificate(found.pem.encode()).public_bytes(Encoding.DER) == certificate


def test_a_workload_beside_another_name() -> None:
    with pytest.raises(SealgateError) as caught:
        ClientCertificate.of(Shown(der(SPIFFE, "https://example.org")), NOW)
    assert caught.value.reason is Reason.CREDENTIAL_AMBIGUOUS


def test_a_connection_outlasts_its_certificate() -> None:
    with pytest.raises(SealgateError) as caught:
        ClientCertificate.of(Shown(der()), NOW + timedelta(days=2))
    assert caught.value.reason is Reason.CERTIFICATE_EXPIRED


@pytest.mark.parametrize("wrong", [b"", b"x", der()[:-1]], ids=["empty", "other", "short"])
def test_a_certificate_that_cannot_be_read(wrong: bytes) -> None:
    with pytest.raises(SealgateError) as caught:
        ClientCertificate.of(Shown(wrong), NOW)
    assert caught.value.reason is Reason.CERTIFICATE_MALFORMED


def test_of_headers_credentials_alone_are_seen() -> None:
    context = HttpContext(SimpleNamespace(properties={}), ["Bearer x"])
    assert list(context.invocation_metadata()) == [("authorization", "Bearer x")]
    assert ClientCertificate.of(context, NOW) is None
    assert context.time_remaining() is None


def test_many_threads_may_check_one_caller() -> None:
    ours, theirs = socket.socketpair()
    peer, end, errors = Peer(ours, None), time.monotonic() + 0.5, []

    def look() -> None:
        try:
            while time.monotonic() < end:
                assert peer.is_there()
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ours.close()
    theirs.close()
    assert errors == []
