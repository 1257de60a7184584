"""Certificates, an API key and the policy change while callers ask, and no request is lost."""

import logging
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest
from cryptography.x509 import load_pem_x509_certificate

from demo.questions import Load
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import access_of, connect, reason_of
from sealgate.setup.credentials import Certificate, CertificateAuthority
from sealgate.trust.keys import PrivateKey, write_private_file
from sealgate.trust.times import format_time
from sealgate.v1.credential_pb2 import CreateApiKeyRequest, RevokeApiKeyRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from sealgate.v1.registry_pb2 import GetPolicyRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub
from tests.support.harness.gateway import GatewayHarness, question, rows, running
from tests.support.harness.policy_changes import change, person
from tests.support.harness.rollouts import await_true
from tests.support.oracles.programs import program

HOSTS = ("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state", "digits-standard")
    with (harness.state / "gateway.toml").open("a") as file:
        file.write('\n[metrics]\nlisten = "127.0.0.1:0"\n')
    harness.start()
    try:
        harness.promote("digits", 1)
        yield harness
    finally:
        harness.stop()


@pytest.fixture(scope="module")
def servers(harness: GatewayHarness) -> CertificateAuthority:
    """An authority of servers' certificates that everybody trusts beside the first."""
    authority = CertificateAuthority("new servers", datetime.now(UTC), timedelta(days=60))
    put(harness.state / "tls" / "servers.pem", authority.pem, beside=True)
    return authority


def put(path: Path, data: bytes, *, beside: bool = False) -> None:
    """Another file takes the place of this one, as whoever renews certificates does it."""
    new = path.with_suffix(".new")
    new.write_bytes((path.read_bytes() if beside else b"") + data)
    new.replace(path)


def serve(harness: GatewayHarness, made: Certificate) -> None:
    put(harness.state / "tls" / "gateway.key", made.key)
    put(harness.state / "tls" / "gateway.pem", made.certificate)


def shown(harness: GatewayHarness, person: str = "client") -> int:
    """The serial number of the certificate that a new connection gets, as OpenSSL verifies it."""
    profile = harness.profile(person)
    words = ["s_client", "-connect", profile.endpoint, "-alpn", "h2", "-servername", "localhost"]
    words += ["-CAfile", str(profile.server_authority), "-verify_return_error"]
    if profile.certificate is not None:
        words += ["-cert", str(profile.certificate), "-key", str(profile.certificate_key)]
    done = subprocess.run([program("openssl"), *words], input=b"", capture_output=True, timeout=60)
    assert b"Verify return code: 0 (ok)" in done.stdout, done.stdout + done.stderr
    # Among what it prints are bytes of HTTP/2.
    pem = re.search(rb"-----BEGIN.*?-----END CERTIFICATE-----", done.stdout, re.DOTALL)
    assert pem is not None
    return load_pem_x509_certificate(pem[0]).serial_number


def metric(harness: GatewayHarness, series: str) -> float:
    connection = HTTPConnection("127.0.0.1", harness.gateway.ports["metrics"], timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return float(re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)[1])


class Newcomers:
    """Somebody who makes a new connection for each question, with the newest API key."""

    def __init__(self, harness: GatewayHarness, key: str) -> None:
        self.key = key
        self.answered = 0
        self.failures: list[object] = []
        self._harness = harness
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Newcomers":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def more(self, count: int = 3) -> None:
        """Waits for more answers."""
        enough = self.answered + count
        await_true(lambda: self.answered >= enough or bool(self.failures))

    def _run(self) -> None:
        while not self._stopping.is_set():
            access = replace(access_of(self._harness.profile("client")), token=self.key)
            # Or connections to the same address are shared.
            own = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.secure_channel(access.endpoint, access.credentials(), own) as channel:
                try:
                    stub = GRPCInferenceServiceStub(channel)
                    stub.ModelInfer(question("digits", rows()), timeout=60)
                    self.answered += 1
                except grpc.RpcError as error:
                    self.failures.append(reason_of(error) or error)


def test_what_changes_under_load_loses_no_request(
    harness: GatewayHarness, servers: CertificateAuthority
) -> None:
    keys = CredentialServiceStub(harness.channel("admin"))
    expires = format_time(datetime.now(UTC) + timedelta(hours=1))

    def make(label: str) -> tuple[str, str]:
        made = keys.CreateApiKey(
            CreateApiKeyRequest(holder="client", label=label, expire_time=expires)
        )
        return made.api_key.name, made.secret

    first, secret = make("first")
    old = shown(harness)
    with (
        Newcomers(harness, secret) as newcomers,
        Load(harness.inference(), "digits", rows(count=20)) as load,
    ):
        load.wait_for("1")
        newcomers.more()
        new = servers.server("gateway", HOSTS)
        serve(harness, new)
        newcomers.more()
        serial = load_pem_x509_certificate(new.certificate).serial_number
        assert serial != old
        # The native transport looks at the files four times a second.
        await_true(lambda: shown(harness) == shown(harness, "auditor") == serial)
        _, newcomers.key = make("second")
        newcomers.more()
        keys.RevokeApiKey(RevokeApiKeyRequest(name=first, reason="rotated"))
        newcomers.more()
        change(harness, lambda document: None)
        newcomers.more()
        answered = sum(load.versions.values())
        await_true(lambda: sum(load.versions.values()) > answered)
    assert newcomers.failures == []
    assert load.failures == {}
    # The old key is one no more, so it was the new one that asked.
    newcomers = Newcomers(harness, secret)
    with newcomers:
        await_true(lambda: bool(newcomers.failures))
    assert newcomers.failures[0] is Reason.API_KEY_REVOKED


def test_a_file_that_cannot_be_used_changes_nothing(
    harness: GatewayHarness, servers: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    made = servers.server("gateway", HOSTS)
    serve(harness, made)
    serial = load_pem_x509_certificate(made.certificate).serial_number
    await_true(lambda: shown(harness) == serial)
    end = 'sealgate_certificate_end_timestamp_seconds{certificate="tls"}'
    refused = 'sealgate_certificate_renewals_total{result="refused"}'
    before, times = metric(harness, end), metric(harness, refused)
    other = CertificateAuthority("others", datetime.now(UTC), timedelta(days=3)).server(
        "gateway", HOSTS
    )
    with caplog.at_level(logging.ERROR):
        # A certificate whose key is another.
        put(harness.state / "tls" / "gateway.pem", other.certificate)

        def is_refused() -> bool:
            # grpcio looks at the files for a handshake alone.
            assert shown(harness) == serial
            return "the certificates that are served stay" in caplog.text

        await_true(is_refused)
    # The metrics describe the certificate that is served.
    assert (metric(harness, end), metric(harness, refused)) == (before, times + 1)
    put(harness.state / "tls" / "gateway.pem", made.certificate)
    assert shown(harness) == serial


def test_callers_authorities_change_too(
    harness: GatewayHarness, servers: CertificateAuthority
) -> None:
    callers = CertificateAuthority("new callers", datetime.now(UTC), timedelta(days=60))
    made = callers.caller("auditor")
    home = harness.state / "people" / "auditor"
    (home / "new.pem").write_bytes(made.certificate)
    (home / "new.key").write_bytes(made.key)
    profile = replace(
        harness.profile("auditor"), certificate=home / "new.pem", certificate_key=home / "new.key"
    )

    def ask() -> None:
        with connect(profile) as channel:
            RegistryServiceStub(channel).GetPolicy(GetPolicyRequest(), timeout=60)

    with pytest.raises(grpc.RpcError) as caught:
        ask()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    put(harness.state / "tls" / "callers.pem", callers.pem, beside=True)

    def is_let_in() -> bool:
        try:
            ask()
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    await_true(is_let_in)
    # A caller who was admitted before still is.
    harness.registry("auditor").GetPolicy(GetPolicyRequest(), timeout=60)


def test_a_freshness_key_is_replaced(tmp_path):
    new = PrivateKey.generate()
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)

        def add(changed):
            changed["keys"][new.public.keyid] = new.public.pem
            person(changed, "freshness")["keys"].append(new.public.keyid)

        change(harness, add)
        harness.stop()
        path = harness.state / "keys" / "freshness.key"
        path.unlink()
        write_private_file(path, new.to_pem())
        harness.start()
        harness.await_version("digits", 1)
        change(
            harness, lambda changed: person(changed, "freshness").update(keys=[new.public.keyid])
        )
        answer = harness.inference().ModelInfer(question("digits", rows()), timeout=60)
        assert answer.model_version == "1"
