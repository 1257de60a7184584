"""An installation made a year ago: everything in it has ended, and one command renews it."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509

from demo.stage import free_ports
from sealgate.oip.grpc_service_pb2 import ServerLiveRequest
from sealgate.reasons import Reason
from sealgate.setup.credentials import CertificateAuthority, mint_token
from sealgate.setup.installation import Installation, Ports
from sealgate.setup.people import CERTIFICATE_LIFETIME, POLICY_LIFETIME, SERVER_LIFETIME
from sealgate.trust.times import RENEW_BEFORE
from tests.support.harness.gateway import GatewayHarness

DAY = timedelta(days=1)


def made(state: Path, age: timedelta) -> GatewayHarness:
    """An installation as `init` made it so long ago."""
    harness = GatewayHarness(state)
    shutil.rmtree(state)
    port = free_ports()
    now = datetime.now(UTC) - age
    Installation(state, "house", now, Ports(port, port + 1), passphrase=None).make()
    return harness


@pytest.fixture
def aged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatewayHarness]:
    monkeypatch.chdir(tmp_path)
    age = timedelta(days=366)
    harness = made(tmp_path / "state", age)
    # It served on its first day, when its policy and certificates began.
    with monkeypatch.context() as then:
        then.setattr("gateway.app.now", lambda: datetime.now(UTC) - age)
        harness.start()
        harness.stop()
    yield harness
    harness.stop()


def renewed(harness: GatewayHarness, *words: str, code: int = 0) -> dict[str, dict]:
    result = harness.command("renew", "--json", *words)
    assert result.exit_code == code, result.output
    return {row["what"]: row for row in json.loads(result.stdout)}


def test_everything_is_renewed_after_its_end_while_the_gateway_runs(aged: GatewayHarness) -> None:
    key = x509.load_pem_x509_certificate((aged.state / "tls/gateway.pem").read_bytes()).public_key()
    aged.start()
    assert {row["state"] for row in renewed(aged, "--check", code=1).values()} == {"due"}
    rows = renewed(aged)
    assert {row["state"] for row in rows.values()} == {"renewed"}
    assert rows["policy version 2"]["days_left"] >= 364
    after = x509.load_pem_x509_certificate((aged.state / "tls/gateway.pem").read_bytes())
    assert after.public_key() == key
    hosts = after.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert hosts.get_values_for_type(x509.DNSName) == ["localhost"]
    assert {row["state"] for row in renewed(aged, "--check").values()} == {"kept"}
    # Callers by certificate are let in again, and a caller by token with a fresh one.
    token = mint_token((aged.state / "issuer/issuer.key").read_bytes(), "client", *_an_hour())
    (aged.state / "people/client/token.jwt").write_text(token)
    assert aged.command("audit", "verify", "--json", "--wait", "60").exit_code == 0
    assert aged.inference().ServerLive(ServerLiveRequest(), timeout=60).live


def _an_hour() -> tuple[datetime, timedelta]:
    return datetime.now(UTC), timedelta(hours=1)


def test_roots_that_are_elsewhere_sign_a_draft(aged: GatewayHarness, tmp_path: Path) -> None:
    roots = tmp_path / "offline"
    shutil.move(aged.state / "roots", roots)
    result = aged.command("renew")
    assert result.exit_code == 0, result.output
    assert "sealgate policy sign policy-2.json --key KEY" in result.output
    aged.start()
    # One command for each holder of a root key, and one more for the admin.
    for file, number in (("policy-2.json", 1), ("policy-2.signed.json", 2)):
        signing = ("policy", "sign", file, "--yes", "--key", str(roots / f"root-{number}.key"))
        signed = aged.command(*signing)
        assert signed.exit_code == 0, signed.output
    accepted = aged.command("policy", "accept", "policy-2.signed.json")
    assert "version 2 is in force" in accepted.output, accepted.output


def test_what_is_signed_while_no_gateway_runs_is_accepted_later(aged: GatewayHarness) -> None:
    rows = renewed(aged)
    assert rows["policy version 2"]["state"] == "signed"
    aged.start()
    accepted = aged.command("policy", "accept", "policy-2.signed.json")
    assert "version 2 is in force" in accepted.output, accepted.output


def test_ends_are_apart_and_alarms_come_before_each(tmp_path: Path) -> None:
    lifetimes = sorted((POLICY_LIFETIME, CERTIFICATE_LIFETIME, SERVER_LIFETIME))
    for sooner, later in pairwise(lifetimes):
        assert later - sooner >= timedelta(days=14)
    # A day before the first alarm, and a day after it.
    for name, age, state in (
        ("early", SERVER_LIFETIME - RENEW_BEFORE - DAY, "kept"),
        ("late", SERVER_LIFETIME - RENEW_BEFORE + DAY, "due"),
    ):
        rows = renewed(made(tmp_path / name, age), "--check", code=int(state == "due"))
        assert rows["certificate of the gateway"]["state"] == state


def test_an_authority_that_is_not_kept_here_is_told(aged: GatewayHarness) -> None:
    shutil.rmtree(aged.state / "authorities")
    result = aged.command("renew", "--no-policy")
    assert result.exit_code == 1
    assert Reason.KEY_UNREADABLE.name in result.output


def test_nobody_is_renewed_under_a_name_of_their_own_choice(aged: GatewayHarness) -> None:
    """The owner of a caller's folder can write anything into it."""
    made_up = CertificateAuthority("callers", *_an_hour()).caller("admin")
    home = aged.state / "people" / "auditor"
    (home / "tls.pem").write_bytes(made_up.certificate)
    (home / "tls.key").write_bytes(made_up.key)
    for words in (("renew", "--no-policy"), ("person", "renew", "auditor")):
        result = aged.command(*words)
        assert result.exit_code == 1
        assert "another authority issued the certificate" in result.output
    assert (home / "tls.pem").read_bytes() == made_up.certificate
