"""Rights: what a policy with that section allows, what it refuses, and why."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical
from sealgate.trust.policy import WILDCARD, Policy, Right, decide_rights
from sealgate.trust.policy.rights import ACTION_ROLES, RequestedAction
from tests.support.builders.documents.people import make_policy, refused

ANNA = Right(("anna",), (), ("approve", "read"), ("digits",), ("production", "canary"))
CLIENTS = Right((), ("client",), ("infer",), (WILDCARD,), ("production",))
RIGHTS = (ANNA, CLIENTS)


def right(**changes: Any) -> dict[str, Any]:
    return ANNA.to_json() | changes


def test_a_policy_without_the_section_is_written_as_before() -> None:
    assert "rights" not in json.loads(make_policy().encode())
    assert Policy.decode(make_policy().encode()).rights is None


@pytest.mark.parametrize("rights", [(), RIGHTS])
def test_a_policy_with_the_section_reads_back(rights: tuple[Right, ...]) -> None:
    policy = make_policy(rights=rights)
    assert Policy.decode(policy.encode()) == policy
    assert policy.digest != make_policy().digest


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        (RequestedAction("approve", "digits", "production"), True),
        (RequestedAction("approve", "digits", "canary"), True),
        (RequestedAction("approve", "digits", "shadow"), False),
        (RequestedAction("approve", "digits"), False),
        (RequestedAction("approve", "digits-2", "production"), False),
        (RequestedAction("read", "digits"), False),
        (RequestedAction("read"), False),
        (RequestedAction("metadata", "digits", "production"), False),
    ],
)
def test_a_right_covers_what_it_names(target: RequestedAction, allowed: bool) -> None:
    policy = make_policy(rights=RIGHTS)
    anna = policy.principal("anna")
    assert decide_rights(policy.rights, anna.name, anna.roles, target).allowed is allowed
    if allowed:
        policy.check_right(anna, target)
    else:
        with refused(Reason.RIGHT_MISSING):
            policy.check_right(anna, target)


def test_an_empty_section_denies_everything() -> None:
    policy = make_policy(rights=())
    for person in policy.principals:
        for action in ACTION_ROLES:
            with refused(Reason.RIGHT_MISSING):
                policy.check_right(person, RequestedAction(action, "digits", "production"))


def test_without_the_section_roles_alone_decide() -> None:
    policy = make_policy()
    anna = policy.principal("anna")
    policy.check_right(anna, RequestedAction("approve", "digits", "production"))
    assert decide_rights(None, "anna", anna.roles, RequestedAction("approve", "digits")).allowed
    assert not decide_rights(None, "anna", anna.roles, RequestedAction("promote", "digits")).allowed


def test_a_right_gives_no_role() -> None:
    grant = (replace(ANNA, actions=("promote",)),)
    found = decide_rights(
        grant, "anna", ("approver",), RequestedAction("promote", "digits", "production")
    )
    assert (found.allowed, found.why) == (False, "promote needs admin, not approver")


def test_why() -> None:
    everywhere = RequestedAction("infer", "digits", "production")
    found = decide_rights(RIGHTS, "cleo", ("client",), everywhere)
    assert (found.allowed, found.right) == (True, 2)
    found = decide_rights(RIGHTS, "cleo", ("client",), RequestedAction("infer", "digits", "canary"))
    assert found.why == "no right of theirs (2) covers infer on digits/canary"
    found = decide_rights((ANNA,), "cleo", ("client",), everywhere)
    assert found.why == "no right names cleo or a role of theirs"
    with refused(Reason.POLICY_INVALID):
        decide_rights(RIGHTS, "cleo", ("client",), RequestedAction("unheard"))


@pytest.mark.parametrize(
    ("reason", "entry"),
    [
        (Reason.POLICY_INVALID, right(principals=[])),
        (Reason.POLICY_INVALID, right(actions=[])),
        (Reason.POLICY_INVALID, right(models=[])),
        (Reason.POLICY_INVALID, right(aliases=[])),
        (Reason.POLICY_INVALID, right(principals=["nobody"])),
        (Reason.POLICY_INVALID, right(roles=["freshness"])),
        (Reason.POLICY_INVALID, right(actions=["fly"])),
        (Reason.POLICY_INVALID, right(models=["*", "digits"])),
        (Reason.NAME_MALFORMED, right(models=["dig*"])),
        (Reason.NAME_MALFORMED, right(aliases=["Production"])),
        (Reason.DOCUMENT_MALFORMED, right(models=["digits", "digits"])),
        (Reason.DOCUMENT_MALFORMED, right(models="digits")),
        (Reason.DOCUMENT_MALFORMED, right(models=[1])),
        (Reason.DOCUMENT_MALFORMED, right(deny=True)),
        (Reason.DOCUMENT_MALFORMED, {"principals": ["anna"], "actions": ["read"]}),
        (Reason.DOCUMENT_MALFORMED, None),
    ],
)
def test_what_is_refused(reason: Reason, entry: Any) -> None:
    document = json.loads(make_policy().encode()) | {"rights": [entry]}
    with refused(reason):
        Policy.decode(canonical.encode(document))


@pytest.mark.parametrize("section", [None, {}, "*"])
def test_the_section_is_a_list(section: Any) -> None:
    document = json.loads(make_policy().encode()) | {"rights": section}
    with refused(Reason.DOCUMENT_MALFORMED):
        Policy.decode(canonical.encode(document))
