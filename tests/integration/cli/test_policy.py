"""`sealgate policy`: shown, checked and explained from signed files, with no gateway."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from sealgate.cli.main import main
from sealgate.reasons import Reason
from sealgate.setup.installation import Installation, Ports
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.policy import Policy

CLIENTS = {
    "principals": [],
    "roles": ["client"],
    "actions": ["infer"],
    "models": ["digits"],
    "aliases": ["production"],
}

PAST = {"issued": "2020-01-01T00:00:00Z", "expires": "2020-01-02T00:00:00Z"}


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    state = tmp_path_factory.mktemp("policy") / "state"
    Installation(state, "house", datetime.now(UTC), Ports(1, 2), passphrase=None).make()
    return state


def command(state, *words):
    return CliRunner().invoke(main, ["--state", str(state), "policy", *words])


def shown(state, *words):
    result = command(state, *words, "--json")
    return json.loads(result.stdout), result.exit_code


def successor(state, path, roots=(1, 2), **changes):
    """The installation's policy with changes, signed by these roots."""
    first = Envelope.decode((state / "trust" / "policy.json").read_bytes())
    document = json.loads(first.payload) | {"version": 2} | changes
    keys = [load_private_key(state / "roots" / f"root-{n}.key") for n in roots]
    path.write_bytes(dsse.sign(Policy.PAYLOAD_TYPE, canonical.encode(document), *keys).encode())
    return str(path)


def chain(state, path, **changes):
    first = str(state / "trust" / "policy.json")
    return ("--policy", first, "--policy", successor(state, path, **changes))


def test_show(state, tmp_path):
    found, _ = shown(state, "show")
    assert (found["version"], found["rights"]) == (1, None)
    known = "jwt:https://issuer.sealgate.localhost admin, mtls:admin"
    assert {"principal": "admin", "roles": "admin", "identities": known} in found["people"]
    assert "the roles alone decide" in command(state, "show").output
    policies = chain(state, tmp_path / "2.json", rights=[CLIENTS])
    found, _ = shown(state, "show", *policies)
    assert found["rights"][0]["for"] == "role client"
    assert "role client" in command(state, "show", *policies).output


def test_check(state, tmp_path):
    found, _ = shown(state, "check", str(state / "trust" / "policy.json"))
    assert found["signed"] == "by the pinned root keys"
    assert found["without_rights"] == "nobody"
    found, _ = shown(state, "check", successor(state, tmp_path / "2.json", rights=[CLIENTS]))
    assert found["signed"] == "as the successor of version 1"
    assert found["without_rights"] == "publisher, approver-1, approver-2, admin, auditor, events"


def test_show_says_who_must_approve_whose_keys_and_which_logs(state, tmp_path):
    shown_to_people = command(state, "show").output
    assert "1 for canary, 2 for production, 1 for shadow" in shown_to_people
    document = json.loads(Envelope.decode((state / "trust" / "policy.json").read_bytes()).payload)
    for text in (*document["keys"], document["logs"]["registry"], *document["logs"]["answers"]):
        assert text in shown_to_people
    found, _ = shown(state, "show")
    assert {"key": document["root"]["keys"][0], "of": "the root"} in found["keys"]
    health = {"*": {"production": {"window_seconds": 60, "minimum_requests": 9, "p99_ms": 250}}}
    policies = chain(state, tmp_path / "2.json", health=health)
    assert "p99_ms 250" in command(state, "show", *policies).output
    assert shown(state, "show", *policies)[0]["health"] == health


def test_a_draft_is_not_taken_for_a_signed_policy(state, tmp_path):
    first = Envelope.decode((state / "trust" / "policy.json").read_bytes())
    draft = tmp_path / "2.json"
    draft.write_text(json.dumps(json.loads(first.payload) | {"version": 2}, indent=2))
    result = command(state, "check", str(draft))
    assert result.exit_code == 1
    assert "which nobody has signed" in result.output


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (Reason.THRESHOLD_NOT_MET, {"roots": (1,)}),
        (Reason.POLICY_INVALID, {"version": 3}),
        (Reason.POLICY_INVALID, {"rights": [CLIENTS | {"principals": ["nobody"]}]}),
        (Reason.DOCUMENT_MALFORMED, {"rights": [CLIENTS | {"deny": True}]}),
        (
            Reason.POLICY_EXPIRED,
            PAST,
        ),
    ],
)
def test_check_refuses(state, tmp_path, reason, changes):
    result = command(state, "check", successor(state, tmp_path / "2.json", **changes))
    assert result.exit_code == 1
    assert reason.name in result.output


@pytest.mark.parametrize(
    ("words", "allowed", "why"),
    [
        (("client", "infer", "--model", "digits"), True, "right 1 allows"),
        (("client", "infer", "--model", "fraud"), False, "no right of theirs (1) covers"),
        (("client", "infer", "--model", "digits", "--alias", "*"), False, "(1)"),
        (("client", "promote", "--model", "digits"), False, "promote needs admin, not client"),
        (("admin", "promote", "--model", "digits"), False, "no right names admin"),
    ],
)
def test_explain(state, tmp_path, words, allowed, why):
    policies = chain(state, tmp_path / "2.json", rights=[CLIENTS])
    found, code = shown(state, "explain", *words, *policies)
    assert (found["allowed"], code) == (allowed, 0 if allowed else 1)
    assert why in found["why"]
    assert found.get("right") == (CLIENTS if allowed else None)
    assert command(state, "explain", *words, *policies).exit_code == code


@pytest.mark.parametrize(
    ("words", "allowed", "why"),
    [
        (("--environment", "staging"), True, "right 1 allows"),
        (("--environment", "lab"), False, "right 1 asks for environment staging, not lab"),
        ((), False, "environment staging, not one that is not known"),
    ],
)
def test_explain_conditions(state, tmp_path, words, allowed, why):
    conditions = {"environments": ["staging"], "risk_tiers": ["high"]}
    risk = {"models": {"digits": "high"}, "approvals": {}}
    evidence = {"golden-run": ["evidence"]}
    sections = {"rights": [CLIENTS | conditions], "risk": risk, "evidence": evidence}
    policies = chain(state, tmp_path / "2.json", **sections)
    found, code = shown(state, "explain", "client", "infer", "--model", "digits", *words, *policies)
    assert (found["allowed"], code) == (allowed, 0 if allowed else 1)
    assert why in found["why"]
    text = command(state, "show", *policies).output
    assert "environment staging; risk tier high" in " ".join(text.split())
    assert "golden-run" in text
    found = shown(state, "show", *policies)[0]
    assert (found["risk"], found["evidence"]) == (risk, evidence)


def test_explain_without_the_section(state):
    found, _ = shown(state, "explain", "admin", "revoke", "--model", "digits")
    assert found["why"] == "the role is enough: the policy has no section rights"


def test_explain_somebody_unknown(state):
    result = command(state, "explain", "nobody", "infer")
    assert result.exit_code == 1
    assert Reason.PRINCIPAL_UNKNOWN.name in result.output
