"""Gateway and engine over TLS: each lets in the very certificate that it pinned, and no other."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from inference.server.config import EngineLimits
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.setup.configuration import EnginePlace
from sealgate.setup.credentials import Certificate, CertificateAuthority
from tests.support.harness.gateway import GatewayHarness, now, question, refusal, rows
from tests.support.harness.processes.engine_process import EngineProcess

DAY = timedelta(days=1)


@dataclass
class Setup:
    """A gateway whose engine listens with TLS, and the authority that signed everybody."""

    harness: GatewayHarness
    engine: EngineProcess
    authority: CertificateAuthority
    pinned: Certificate

    @property
    def engine_pem(self) -> bytes:
        return (self.harness.state / "tls" / "engine.pem").read_bytes()

    def call(self, shown: Certificate | None) -> oip.ServerLiveResponse:
        """Ask the engine, with this certificate or none."""
        own = (shown.key, shown.certificate) if shown else (None, None)
        credentials = grpc.ssl_channel_credentials(self.engine_pem, *own)
        with grpc.secure_channel(self.engine.address, credentials) as channel:
            stub = GRPCInferenceServiceStub(channel)
            return stub.ServerLive(oip.ServerLiveRequest(), timeout=60)

    def point_to(self, engine: str = "engine", own: str = "engine-client") -> None:
        """Have the gateway, at its next start, expect this engine and show that certificate."""
        base = (self.harness.state / "gateway.toml").read_text().partition("[engine]")[0]
        section = f"""[engine]
address = "{self.engine.address}"
certificate = "tls/{engine}.pem"
client_certificate = "tls/{own}.pem"
client_key = "tls/{own}.key"
"""
        (self.harness.state / "gateway.toml").write_text(base + section)


def save(state: Path, name: str, made: Certificate) -> Certificate:
    for suffix, data in (("pem", made.certificate), ("key", made.key)):
        path = state / "tls" / f"{name}.{suffix}"
        path.write_bytes(data)
        path.chmod(0o600)
    return made


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    state = tmp_path_factory.mktemp("tls") / "state"
    harness = GatewayHarness(state, engine=EnginePlace("127.0.0.1:0"))
    authority = CertificateAuthority("the same for all", now(), DAY)
    save(state, "engine", authority.server("engine", ("localhost", "127.0.0.1")))
    save(state, "other-engine", authority.server("engine", ("localhost", "127.0.0.1")))
    pinned = save(state, "engine-client", authority.caller("gateway"))
    save(state, "other-client", authority.caller("gateway"))
    engine = EngineProcess(state)
    engine.start()
    found = Setup(harness, engine, authority, pinned)
    found.point_to()
    try:
        harness.start()
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        yield found
    finally:
        harness.stop()
        engine.stop()


def test_the_pinned_pair_serves(setup: Setup) -> None:
    response = setup.harness.inference().ModelInfer(question("digits", rows()), timeout=60)
    assert response.model_version == "1"
    assert setup.call(setup.pinned).live


def test_connections_that_never_shake_hands_shut_nobody_out(setup: Setup) -> None:
    host, _, port = setup.engine.address.rpartition(":")
    with ExitStack() as stack:
        for _ in range(3 * EngineLimits().connections):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60))
        assert setup.call(setup.pinned).live


def refused_by_tls(setup: Setup, shown: Certificate | None) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        setup.call(shown)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_another_certificate_of_the_same_authority(setup: Setup) -> None:
    refused_by_tls(setup, setup.authority.caller("gateway"))


def test_a_certificate_of_another_authority(setup: Setup) -> None:
    refused_by_tls(setup, CertificateAuthority("another", now(), DAY).caller("gateway"))


def test_a_certificate_that_the_pinned_key_signed(setup: Setup) -> None:
    """Shown with its chain, which ends at the pinned certificate."""
    issuer = x509.load_pem_x509_certificate(setup.pinned.certificate)
    signer = serialization.load_pem_private_key(setup.pinned.key, None)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(issuer.subject)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - DAY)
        .not_valid_after(now() + DAY)
        .sign(signer, hashes.SHA256())
    )
    chain = made.public_bytes(serialization.Encoding.PEM) + setup.pinned.certificate
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    refused_by_tls(setup, Certificate(chain, private))


def test_no_certificate(setup: Setup) -> None:
    refused_by_tls(setup, None)


@pytest.mark.parametrize(
    "names", [{"engine": "other-engine"}, {"own": "other-client"}], ids=["engine", "gateway"]
)
def test_a_gateway_with_another_certificate_than_pinned(setup: Setup, names) -> None:
    setup.harness.stop()
    setup.point_to(**names)
    setup.harness.start()
    try:
        ask = setup.harness.inference().ModelInfer
        assert refusal(ask, question("digits", rows())) is Reason.ENGINE_UNAVAILABLE
    finally:
        setup.harness.stop()
        setup.point_to()
        setup.harness.start()
    setup.harness.await_version("digits", 1)
