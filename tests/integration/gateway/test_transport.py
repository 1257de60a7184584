"""The listeners themselves: TLS versions, certificates, credentials that contradict each other,
bounds.
"""

import socket
import ssl
import time
from dataclasses import replace

import grpc
import jwt
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import connect
from sealgate.setup.credentials import CertificateAuthority, mint_token, new_issuer_key
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows


@pytest.fixture(scope="module")
def harness(harness_by_transport: GatewayHarness) -> GatewayHarness:
    return harness_by_transport


def handshake(harness: GatewayHarness, version: ssl.TLSVersion) -> str | None:
    context = ssl.create_default_context(cafile=harness.profile("client").server_authority)
    # Old versions need the old ciphers to be offered at all.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    host, _, port = harness.profile("client").endpoint.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        return secure.version()


def test_tls_1_2_and_1_3_are_spoken(harness):
    assert handshake(harness, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    assert handshake(harness, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_not(harness, version):
    with pytest.raises((ssl.SSLError, OSError)):
        handshake(harness, version)


def test_plain_text_is_not_answered(harness):
    endpoint = harness.profile("client").endpoint
    with grpc.insecure_channel(endpoint) as channel, pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ServerLive(oip.ServerLiveRequest(), timeout=60)
    assert caught.value.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )


def test_a_certificate_of_another_authority_is_not_let_in(harness, tmp_path):
    from datetime import UTC, datetime, timedelta

    other = CertificateAuthority("another", datetime.now(UTC), timedelta(days=1)).caller("admin")
    (tmp_path / "tls.pem").write_bytes(other.certificate)
    (tmp_path / "tls.key").write_bytes(other.key)
    profile = replace(
        harness.profile("admin"),
        certificate=tmp_path / "tls.pem",
        certificate_key=tmp_path / "tls.key",
    )
    with connect(profile) as channel, pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ServerLive(oip.ServerLiveRequest(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def metadata(*values):
    return [("authorization", value) for value in values]


def ask(harness, authorization):
    profile = replace(harness.profile("client"), token=None)
    with connect(profile) as channel:
        stub = GRPCInferenceServiceStub(channel)
        request = question("digits", rows())
        return refusal(stub.ModelInfer, request, timeout=60, metadata=authorization)


def token(harness, subject):
    from datetime import UTC, datetime, timedelta

    key = (harness.state / "issuer" / "issuer.key").read_bytes()
    return mint_token(key, subject, datetime.now(UTC), timedelta(minutes=5))


def test_credentials_that_are_refused(harness):
    good = f"Bearer {token(harness, 'client')}"
    assert ask(harness, []) is Reason.CREDENTIAL_MISSING
    assert ask(harness, metadata(good, good)) is Reason.CREDENTIAL_AMBIGUOUS
    assert ask(harness, metadata("Basic YTpi")) is Reason.TOKEN_MALFORMED
    assert ask(harness, metadata("Bearer x")) is Reason.TOKEN_MALFORMED
    assert (
        ask(harness, metadata(f"Bearer {token(harness, 'stranger')}")) is Reason.PRINCIPAL_UNKNOWN
    )


def test_tokens_that_are_refused_at_the_door(harness):
    key = (harness.state / "issuer" / "issuer.key").read_bytes()
    head = jwt.get_unverified_header(token(harness, "client"))
    claims = jwt.decode(token(harness, "client"), options={"verify_signature": False})

    def sent(signer, algorithm="ES256", **changes):
        text = jwt.encode(claims | changes, signer, algorithm, head | {"alg": algorithm})
        return ask(harness, metadata(f"Bearer {text}"))

    assert sent(key, exp=1) is Reason.TOKEN_EXPIRED
    assert sent(None, "none") is Reason.TOKEN_ALGORITHM
    assert sent(new_issuer_key()) is Reason.TOKEN_SIGNATURE
    assert sent(key, aud="another") is Reason.TOKEN_AUDIENCE


def test_identity_headers_are_not_looked_at(harness):
    claimed = [("x-forwarded-user", "client"), ("x-principal", "client"), ("x-role", "client")]
    assert ask(harness, claimed) is Reason.CREDENTIAL_MISSING


def test_token_and_certificate_must_be_the_same_principal(harness):
    with connect(harness.profile("admin")) as channel:
        stub = GRPCInferenceServiceStub(channel)
        reason = refusal(
            stub.ServerMetadata,
            oip.ServerMetadataRequest(),
            timeout=60,
            metadata=metadata(f"Bearer {token(harness, 'client')}"),
        )
    assert reason is Reason.CREDENTIAL_AMBIGUOUS


def test_anonymous_refusals_are_counted_not_recorded(harness):
    size = harness.gateway.recorder.size
    ask(harness, [])
    assert harness.gateway.recorder.size == size


def test_a_short_deadline_is_passed_on(harness):
    with pytest.raises(grpc.RpcError) as caught:
        harness.inference().ModelInfer(question("digits", rows()), timeout=0.0001)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_stopping_drains(tmp_path, transport):
    """Every request that was let in is answered; afterwards the port is closed."""
    harness = GatewayHarness(tmp_path / "state", transport=transport)
    harness.start()
    stub = harness.inference()
    stub.ServerLive(oip.ServerLiveRequest(), timeout=60)
    began = time.monotonic()
    harness.stop()
    assert time.monotonic() - began < 60
    with connect(harness.profile("client")) as channel, pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ServerLive(oip.ServerLiveRequest(), timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
