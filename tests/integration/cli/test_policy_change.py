"""A policy on its way: drafted, edited, signed by one root after the other, accepted, fetched."""

import json
import shutil

import pytest
from click.testing import CliRunner

from sealgate.cli.main import main
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.harness.policy_changes import accept, follow

pytestmark = pytest.mark.slow


@pytest.fixture
def harness(tmp_path) -> GatewayHarness:
    with running(tmp_path / "state") as harness:
        yield harness


def run(harness, *words, answer=None):
    return CliRunner().invoke(
        main, ["--state", str(harness.state), "policy", *map(str, words)], input=answer
    )


def done(result):
    assert result.exit_code == 0, result.output
    return result.output


def root(harness, number):
    return harness.state / "roots" / f"root-{number}.key"


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes, indent=4))


@pytest.fixture
def draft(harness, tmp_path):
    file = tmp_path / "policy-2.json"
    done(run(harness, "draft", file))
    edit(file, promotion={"approvals": {"production": 1, "canary": 1, "shadow": 1}})
    return file


def test_from_draft_to_force(harness, draft):
    signed = draft.with_suffix(".signed.json")
    said = done(run(harness, "sign", draft, "--key", root(harness, 1), answer="y\n"))
    assert "~ promotion.approvals.production: 2 -> 1" in said
    assert "~ version: 1 -> 2" in said
    assert "lacks signatures by 1 more of the root keys" in said
    assert Reason.THRESHOLD_NOT_MET.name in run(harness, "accept", signed).output
    said = done(run(harness, "sign", signed, "--key", root(harness, 3), "--yes"))
    assert "signed by enough" in said
    said = done(run(harness, "accept", signed))
    assert "~ promotion.approvals.production: 2 -> 1" in said
    assert "version 2 is in force" in said
    follow(harness, 2)
    # Twice is not wrong, and what is read offline is now the new one.
    assert "version 2 is in force" in done(run(harness, "accept", signed))
    assert json.loads(done(run(harness, "show", "--json")))["version"] == 2
    found = json.loads(done(run(harness, "accept", signed, "--json")))
    assert (found["version"], found["changes"]) == (2, [])


def test_whoever_looks_and_says_no_has_not_signed(harness, draft):
    result = run(harness, "sign", draft, "--key", root(harness, 1), answer="n\n")
    assert result.exit_code == 1
    assert not draft.with_suffix(".signed.json").exists()


def test_the_same_key_twice(harness, draft):
    done(run(harness, "sign", draft, "--key", root(harness, 1), "--yes"))
    signed = draft.with_suffix(".signed.json")
    again = run(harness, "sign", signed, "--key", root(harness, 1), "--yes")
    assert again.exit_code == 1
    assert "has signed" in again.output
    assert len(Envelope.decode(signed.read_bytes()).signatures) == 1


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (Reason.POLICY_ROLLED_BACK, {"version": 1}),
        (Reason.POLICY_INVALID, {"version": 3}),
        (
            Reason.POLICY_INVALID,
            {"issued": "2090-01-01T00:00:00Z", "expires": "2091-01-01T00:00:00Z"},
        ),
        (
            Reason.POLICY_EXPIRED,
            {"issued": "2020-01-01T00:00:00Z", "expires": "2020-01-02T00:00:00Z"},
        ),
        (Reason.POLICY_INVALID, {"keys": {}}),
        (Reason.DOCUMENT_MALFORMED, {"colour": "blue"}),
    ],
)
def test_what_nobody_should_sign(harness, draft, reason, changes):
    edit(draft, **changes)
    result = run(harness, "sign", draft, "--key", root(harness, 1), "--yes")
    assert result.exit_code == 1
    assert reason.name in result.output


def test_a_key_of_no_root(harness, draft):
    key = harness.state / "people" / "admin" / "signing.key"
    assert Reason.SIGNER_MISMATCH.name in run(harness, "sign", draft, "--key", key, "--yes").output


def test_an_encrypted_key(harness, draft, tmp_path):
    path = tmp_path / "root-1.encrypted.key"
    path.touch(mode=0o600)
    path.write_bytes(load_private_key(root(harness, 1)).to_pem(b"open sesame"))
    done(run(harness, "sign", draft, "--key", path, "--yes", answer="open sesame\n"))
    wrong = run(harness, "sign", draft, "--key", path, "--yes", answer="open\n")
    assert Reason.KEY_UNREADABLE.name in wrong.output


def test_a_draft_is_never_overwritten(harness, draft):
    before = draft.read_bytes()
    assert run(harness, "draft", draft).exit_code == 1
    assert draft.read_bytes() == before


def test_a_root_holder_needs_no_gateway(harness, draft, tmp_path):
    first = harness.state / "trust" / "policy.json"
    harness.stop()
    done(run(harness, "sign", draft, "--key", root(harness, 1), "--yes", "--policy", first))
    done(run(harness, "draft", tmp_path / "other.json", "--policy", first))


def test_fetch_keeps_the_chain_and_notices_another(harness):
    accept(harness)
    accept(harness)
    assert json.loads(done(run(harness, "fetch", "--json")))["version"] == 3
    trust = harness.state / "trust"
    assert [(trust / f"policy-{n}.json").exists() for n in (2, 3, 4)] == [True, True, False]
    assert json.loads(done(run(harness, "show", "--json")))["version"] == 3
    # The stored chain differs from the gateway's.
    accept(harness, expires="2091-01-01T00:00:00Z")
    done(run(harness, "fetch"))
    shutil.copy(trust / "policy-4.json", trust / "policy-3.json")
    assert Reason.POLICY_ROLLED_BACK.name in run(harness, "fetch").output
