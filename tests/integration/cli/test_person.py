"""People come, get a passkey, renew and go: from the command to the policy that roots sign.

No gateway runs: the policy in force is the one that `init` wrote.
"""

import json
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509

from sealgate.cli.main import main
from sealgate.reasons import Reason
from sealgate.remote import Profile
from sealgate.setup.people import AUTHORITY, CERTIFICATE_LIFETIME
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from sealgate.trust.policy import Policy, open_policy_history
from tests.support.builders.documents.authenticator import Authenticator


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = CliRunner().invoke(main, ["--state", str(tmp_path), "init", "--unencrypted-keys"])
    assert made.exit_code == 0, made.output
    return tmp_path


def run(state: Path, *words: str) -> Result:
    options = {"person": ["--draft", str(state / "next.json")]}
    given = options[words[0]] if words[1] in ("add", "remove", "passkey") else []
    chain = ["--policy", str(state / "trust" / "policy.json")] if given else []
    return CliRunner().invoke(main, ["--state", str(state), *words, *given, *chain])


def person(state: Path, *words: str) -> str:
    done = run(state, "person", *words)
    assert done.exit_code == 0, done.output
    return done.output


def drafted(state: Path) -> Policy:
    """The draft, signed by two roots and followed from the first policy."""
    words = ("policy", "sign", "--yes", "--policy", str(state / "trust" / "policy.json"))
    for file, root in (("next.json", "root-1"), ("next.signed.json", "root-2")):
        key = str(state / "roots" / f"{root}.key")
        command = ["--state", str(state), *words, str(state / file), "--key", key]
        signed = CliRunner().invoke(main, command)
        assert signed.exit_code == 0, signed.output
    profile = Profile.read(state / "people" / "auditor" / "profile.toml")
    files = (state / "trust" / "policy.json", state / "next.signed.json")
    chain = [Envelope.decode(file.read_bytes()) for file in files]
    return open_policy_history(chain, profile.pinned_roots(), profile.root_threshold)[-1]


def certificate(state: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((state / "people" / name / "tls.pem").read_bytes())


def test_an_approver_comes(state: Path) -> None:
    person(state, "add", "anna", "--role", "approver", "--unencrypted-keys")
    profile = Profile.read(state / "people" / "anna" / "profile.toml")
    assert profile.name == "anna"
    assert profile.endpoint == Profile.read(state / "people/admin/profile.toml").endpoint
    policy = drafted(state)
    assert policy.principal("anna").roles == ("approver",)
    assert policy.by_identity("mtls:anna") == policy.principal("anna")
    key = load_private_key(state / "people" / "anna" / "signing.key")
    assert policy.keys_of("anna") == {key.public.keyid: key.public}
    callers = x509.load_pem_x509_certificate((state / "tls" / "callers.pem").read_bytes())
    certificate(state, "anna").verify_directly_issued_by(callers)


def test_a_publisher_gets_both_keys(state: Path) -> None:
    person(state, "add", "paula", "--role", "publisher", "--unencrypted-keys")
    assert len(drafted(state).keys_of("paula")) == 2


def test_several_changes_are_one_draft(state: Path) -> None:
    person(state, "add", "anna", "--role", "approver", "--passkey")
    passkey = Authenticator("anna").passkey
    # As the console shows it.
    (state / "anna.json").write_text(json.dumps({passkey.keyid: passkey.to_json()}))
    person(state, "passkey", "anna", str(state / "anna.json"))
    person(state, "remove", "approver-2")
    policy = drafted(state)
    assert policy.version == 2
    assert policy.signing_keys_of("anna") == {passkey.keyid: passkey}
    assert "approver-2" not in {known.name for known in policy.principals}
    key = load_private_key(state / "people" / "approver-2" / "signing.key")
    assert policy.vouches(key.public.keyid, "sha256:" + "0" * 64)
    assert not (state / "people" / "anna").exists()


def test_who_goes_is_named_by_no_right(state: Path) -> None:
    person(state, "add", "anna", "--role", "auditor", "--passkey")
    draft = json.loads((state / "next.json").read_text())
    right = {"actions": ["read"], "models": ["*"], "aliases": ["*"]}
    draft["rights"] = [
        right | {"principals": ["anna"], "roles": []},
        right | {"principals": ["anna", "admin"], "roles": []},
    ]
    (state / "next.json").write_text(json.dumps(draft))
    person(state, "remove", "anna")
    left = json.loads((state / "next.json").read_text())["rights"]
    assert [known["principals"] for known in left] == [["admin"]]


def test_what_is_refused(state: Path) -> None:
    for words, told in (
        (("add", "admin", "--role", "approver", "--passkey"), "the policy names admin already"),
        (("remove", "nobody"), "the policy names no nobody"),
        (("add", "Anna", "--role", "approver", "--passkey"), Reason.NAME_MALFORMED.sentence),
    ):
        done = run(state, "person", *words)
        assert done.exit_code == 1
        assert told in done.output
    assert not (state / "next.json").exists()


def test_a_certificate_is_renewed_for_the_same_key(state: Path) -> None:
    before = certificate(state, "approver-1")
    person(state, "renew", "approver-1", "auditor")
    after = certificate(state, "approver-1")
    assert after.public_key() == before.public_key()
    assert after.serial_number != before.serial_number
    left = after.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(0) <= CERTIFICATE_LIFETIME - left < timedelta(minutes=10)


def test_an_authoritys_key_of_another_installation(state: Path, tmp_path_factory) -> None:
    other = tmp_path_factory.mktemp("other")
    CliRunner().invoke(main, ["--state", str(other), "init", "--unencrypted-keys"])
    (state / AUTHORITY).write_bytes((other / AUTHORITY).read_bytes())
    done = run(state, "person", "renew", "approver-1")
    assert done.exit_code == 1
    assert "the key is another authority's" in done.output


def test_the_authoritys_key_is_under_the_passphrase_of_init(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("correct horse")
    state = tmp_path / "state"
    environment = {"SEALGATE_PASSPHRASE_FILE": str(secret)}
    made = CliRunner().invoke(main, ["--state", str(state), "init"], env=environment)
    assert made.exit_code == 0, made.output
    for kind in ("callers", "servers"):
        assert b"ENCRYPTED" in (state / "authorities" / f"{kind}.key").read_bytes()
    renew = ["--state", str(state), "person", "renew", "auditor"]
    assert CliRunner().invoke(main, renew, env=environment).exit_code == 0
    secret.write_text("wrong")
    done = CliRunner().invoke(main, renew, env=environment)
    assert done.exit_code == 1
    assert Reason.KEY_UNREADABLE.sentence in done.output


def test_people_are_listed_with_their_certificates(state: Path) -> None:
    done = run(state, "person", "list", "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["approver-1"]["roles"] == "approver"
    assert (rows["publisher"]["keys"], rows["publisher"]["passkeys"]) == (2, 0)
    der = ssl.PEM_cert_to_DER_cert((state / "people/approver-1/tls.pem").read_text())
    end = x509.load_der_x509_certificate(der).not_valid_after_utc
    assert rows["approver-1"]["certificate_until"] == end.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert rows["client"]["certificate_until"] == ""
