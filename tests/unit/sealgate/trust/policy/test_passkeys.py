"""The section `webauthn`: who may have a passkey, and how it is listed."""

from dataclasses import replace
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust.policy import Policy, PolicyRoot
from sealgate.trust.policy.principals import Passkeys
from tests.support.builders.documents.authenticator import Authenticator
from tests.support.builders.documents.people import (
    changed_people,
    key,
    keyid,
    make_policy,
    refused,
)

ANNA = Authenticator("anna")
SECTION = Passkeys({ANNA.keyid: ANNA.passkey})


def policy_of(name: str, **changes: Any) -> Policy:
    """A policy in which somebody holds Anna's passkey."""
    people = changed_people(name, keys=(keyid(name), ANNA.keyid))
    return make_policy(**({"principals": people, "webauthn": SECTION} | changes))


def test_a_policy_with_passkeys_is_read_as_it_was_written() -> None:
    policy = policy_of("anna")
    assert Policy.decode(policy.encode()) == policy
    assert policy.signing_keys_of("anna") == {
        key("anna").public.keyid: key("anna").public,
        ANNA.keyid: ANNA.passkey,
    }
    assert policy.keys_of("anna") == {key("anna").public.keyid: key("anna").public}
    assert policy.holder(ANNA.keyid) == policy.principal("anna")
    assert policy.lists(ANNA.keyid)
    assert b"webauthn" not in make_policy().encode()


def test_a_former_persons_passkey_still_vouches() -> None:
    policy = make_policy(webauthn=SECTION)
    assert policy.vouches(ANNA.keyid, "sha256:" + "0" * 64)
    assert not make_policy().vouches(ANNA.keyid, "sha256:" + "0" * 64)


@pytest.mark.parametrize("service", ["fresh", "guard"])
def test_a_service_has_no_passkey(service: str) -> None:
    with refused(Reason.POLICY_INVALID):
        policy_of(service)


def test_a_passkey_that_is_not_listed() -> None:
    with refused(Reason.POLICY_INVALID):
        policy_of("anna", webauthn=Passkeys({}))


def test_a_root_is_no_passkey() -> None:
    roots = (*make_policy().root.keys[:1], ANNA.keyid)
    with refused(Reason.POLICY_INVALID):
        policy_of("anna", root=PolicyRoot(roots, 2))


def test_under_anothers_id_or_credential() -> None:
    with refused(Reason.POLICY_INVALID):
        Passkeys({Authenticator("arne").keyid: ANNA.passkey})
    twin = replace(Authenticator("arne").passkey, credential=ANNA.passkey.credential)
    with refused(Reason.POLICY_INVALID):
        Passkeys({ANNA.keyid: ANNA.passkey, twin.keyid: twin})


def test_an_empty_section() -> None:
    with refused(Reason.DOCUMENT_MALFORMED):
        Passkeys.from_json({})
