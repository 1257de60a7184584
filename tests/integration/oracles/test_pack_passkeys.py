"""A pack's documents that passkeys signed, checked as its README says: by `webauthn`."""

import subprocess
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.principals import Passkeys
from sealgate.trust.statements import Approval
from tests.support.builders.documents.authenticator import PRESENT, Authenticator
from tests.support.builders.documents.people import (
    at,
    changed_people,
    keyid,
    make_policy,
    sign_policy,
)
from tests.support.oracles.programs import python_with

ANNA = Authenticator("anna")
APPROVAL = Approval("sha256:" + "0" * 64, "anna", "I have read it.", at())


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """The part of a pack that is checked: a policy that lists a passkey."""
    people = changed_people("anna", keys=(keyid("anna"), ANNA.keyid))
    policy = make_policy(principals=people, webauthn=Passkeys({ANNA.keyid: ANNA.passkey}))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "1.dsse.json").write_bytes(sign_policy(policy).encode())
    return tmp_path


def check(pack: Path, approval: Envelope) -> subprocess.CompletedProcess[str]:
    place = pack / "models" / "digits" / "proposals" / "0" / "approvals" / "anna.dsse.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(approval.encode())
    program = files("sealgate.pack") / "check" / "envelopes.py"
    command = [python_with("webauthn"), str(program)]
    return subprocess.run(command, cwd=pack, capture_output=True, text=True, timeout=60)


def test_an_approval_by_passkey(pack: Path) -> None:
    done = check(pack, ANNA.envelope(APPROVAL))
    assert done.returncode == 0, done.stderr
    assert "signed by anna  I have read it." in done.stdout


def test_an_approval_altered_after_signing(pack: Path) -> None:
    altered = replace(APPROVAL, meaning="I have not read it.")
    done = check(pack, replace(ANNA.envelope(APPROVAL), payload=altered.encode()))
    assert done.returncode == 1
    assert "not verified: VerificationError" in done.stderr


def test_an_approval_without_user_verification(pack: Path) -> None:
    done = check(pack, ANNA.envelope(APPROVAL, flags=PRESENT))
    assert done.returncode == 1
    assert "not verified: VerificationError" in done.stderr
