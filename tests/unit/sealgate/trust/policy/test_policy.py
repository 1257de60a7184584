from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import canonical, dsse
from sealgate.trust.policy import (
    Policy,
    PolicyRoot,
    PolicyRules,
    Principal,
    next_policy,
    open_policy,
    open_policy_chain,
    open_policy_history,
)
from sealgate.trust.transparency import note
from tests.support.builders.documents.people import (
    ANSWER_LOG,
    NOW,
    REGISTRY_LOG,
    at,
    key,
    make_policy,
    refused,
    sign_policy,
)

POLICY = make_policy()
PINNED = {key(f"root-{n}").public.keyid: key(f"root-{n}").public for n in range(3)}


def successor(current: Policy = POLICY, **changes: Any) -> Policy:
    return replace(current, version=current.version + 1, **changes)


def with_roots(policy: Policy, *names: str) -> Policy:
    """The successor whose roots are these, any two of which sign the next."""
    publics = [key(name).public for name in names]
    keys = {**policy.keys, **{public.keyid: public for public in publics}}
    return successor(policy, keys=keys, root=PolicyRoot(tuple(p.keyid for p in publics), 2))


def test_a_policy_reads_back() -> None:
    assert Policy.decode(POLICY.encode()) == POLICY
    assert Policy.decode(POLICY.encode()).digest == POLICY.digest


def test_look_ups() -> None:
    assert POLICY.principal("anna").roles == ("approver",)
    assert POLICY.by_identity("mtls:anna") == POLICY.principal("anna")
    assert POLICY.by_identity("mtls:Anna") is None
    assert POLICY.holder(key("anna").public.keyid) == POLICY.principal("anna")
    assert POLICY.holder(key("root-0").public.keyid) is None
    assert POLICY.keys_of("anna") == {key("anna").public.keyid: key("anna").public}
    assert POLICY.keys_of("nobody") == {}
    assert [p.name for p in POLICY.with_role("approver")] == ["anna", "arne"]
    assert POLICY.root_keys() == PINNED
    assert POLICY.approvals_for("production", "digits") == 2
    assert POLICY.log_key(REGISTRY_LOG) == POLICY.registry_log
    assert [POLICY.is_answer_log(o) for o in (ANSWER_LOG, REGISTRY_LOG, "x")] == [
        True,
        False,
        False,
    ]
    assert [POLICY.rules.action(v) for v in ("clean", "suspect", "adversarial")] == [
        "record",
        "flag",
        "block",
    ]
    for reason, look_up, argument in [
        (Reason.PRINCIPAL_UNKNOWN, POLICY.principal, "nobody"),
        (Reason.ALIAS_UNKNOWN, lambda alias: POLICY.approvals_for(alias, "digits"), "staging"),
        (Reason.LOG_UNKNOWN, POLICY.log_key, "example.org/other"),
        (Reason.POLICY_INVALID, POLICY.rules.action, "odd"),
    ]:
        with refused(reason):
            look_up(argument)


def test_the_pinned_roots_open_a_policy() -> None:
    assert open_policy(sign_policy(POLICY), PINNED, 2, NOW) == POLICY


@pytest.mark.parametrize(
    ("signers", "reason"),
    [
        (("root-0",), Reason.THRESHOLD_NOT_MET),
        (("root-0", "anna"), Reason.THRESHOLD_NOT_MET),
        (("mallory", "otto"), Reason.THRESHOLD_NOT_MET),
    ],
)
def test_too_few_roots_are_refused(signers: tuple[str, ...], reason: Reason) -> None:
    with refused(reason):
        open_policy(sign_policy(POLICY, *signers), PINNED, 2, NOW)


def test_forged_policies_are_refused() -> None:
    envelope = sign_policy(POLICY)
    altered = make_policy(rules=PolicyRules({"production": 1}, "record", "record", 3600, 0))
    with refused(Reason.SIGNATURE_INVALID):
        open_policy(replace(envelope, payload=altered.encode()), PINNED, 2, NOW)
    with refused(Reason.SIGNATURE_INVALID):
        open_policy(replace(envelope, payload_type="application/json"), PINNED, 2, NOW)
    with refused(Reason.DOCUMENT_MALFORMED):
        garbage = dsse.sign(Policy.PAYLOAD_TYPE, b"{}", key("root-0"), key("root-1"))
        open_policy(garbage, PINNED, 2, NOW)


def test_a_policy_is_signed_by_its_own_root_too() -> None:
    foreign = with_roots(POLICY, "new-0", "new-1")
    with refused(Reason.THRESHOLD_NOT_MET):
        open_policy(sign_policy(foreign), PINNED, 2, NOW)


def test_an_expired_policy_is_refused() -> None:
    last = NOW + timedelta(days=300)
    open_policy(sign_policy(POLICY), PINNED, 2, last - timedelta(seconds=1))
    with refused(Reason.POLICY_EXPIRED):
        open_policy(sign_policy(POLICY), PINNED, 2, last)
    with refused(Reason.POLICY_EXPIRED):
        next_policy(POLICY, sign_policy(successor()), last)


def test_roots_hand_over_to_other_roots() -> None:
    second = with_roots(POLICY, "root-2", "new-1", "new-2")
    third = with_roots(second, "new-1", "new-2", "new-3")
    chain = [
        sign_policy(POLICY),
        sign_policy(second, "root-0", "root-2", "new-1"),
        sign_policy(third, "new-1", "new-2"),
    ]
    assert open_policy_chain(chain, PINNED, 2, NOW) == third
    assert open_policy_history(chain, PINNED, 2) == (POLICY, second, third)
    assert next_policy(second, chain[2], NOW) == third
    with refused(Reason.THRESHOLD_NOT_MET):
        open_policy_chain(chain[2:], PINNED, 2, NOW)
    with refused(Reason.THRESHOLD_NOT_MET):
        open_policy_chain([chain[0], chain[2]], PINNED, 2, NOW)
    for signers in [("root-0", "root-1"), ("root-2", "new-1"), ("new-1", "new-2")]:
        with refused(Reason.THRESHOLD_NOT_MET):
            next_policy(POLICY, sign_policy(second, *signers), NOW)


def test_only_the_newest_policy_must_be_in_its_time() -> None:
    old = make_policy(issued=at(days=-9), expires=at(days=-1))
    new = successor(old, issued=at(days=-2), expires=at(days=9))
    assert open_policy_chain([sign_policy(old), sign_policy(new)], PINNED, 2, NOW) == new
    with refused(Reason.POLICY_EXPIRED):
        open_policy_chain([sign_policy(old)], PINNED, 2, NOW)


def test_versions_grow_by_one() -> None:
    second = successor()
    for envelope in (sign_policy(POLICY), sign_policy(second)):
        with refused(Reason.POLICY_ROLLED_BACK):
            next_policy(second, envelope, NOW)
    with refused(Reason.POLICY_INVALID):
        next_policy(POLICY, sign_policy(successor(second)), NOW)
    with refused(Reason.POLICY_INVALID):
        open_policy_chain([], PINNED, 2, NOW)


ANNA = POLICY.principal("anna")
KEYID = key("anna").public.keyid


@pytest.mark.parametrize(
    "changes",
    [
        {"issued": at(days=1), "expires": at(days=1)},
        {"keys": {}},
        {"keys": {**POLICY.keys, KEYID: key("arne").public}},
        {"principals": (*POLICY.principals, ANNA)},
        {"principals": (*POLICY.principals, Principal("ann", ("admin",), (KEYID,), ()))},
        {"principals": (*POLICY.principals, Principal("ann", ("admin",), (), ("mtls:anna",)))},
        {"principals": (Principal("ann", (), (key("stranger").public.keyid,), ()),)},
        {"root": PolicyRoot((key("stranger").public.keyid,), 1)},
        {"answer_logs": (POLICY.registry_log,)},
        {"answer_logs": (note.vkey(REGISTRY_LOG, key("other").public),)},
        {"answer_logs": POLICY.answer_logs * 2},
    ],
)
def test_policies_that_contradict_themselves_are_refused(changes: dict[str, Any]) -> None:
    with refused(Reason.POLICY_INVALID):
        make_policy(**changes)


def test_parts_that_cannot_be_are_refused() -> None:
    for threshold in (0, 3):
        with refused(Reason.POLICY_INVALID):
            PolicyRoot((KEYID, "0" * 64), threshold)
    with refused(Reason.POLICY_INVALID):
        Principal("anna", ("owner",), (), ())
    for identity in ("anna", "mtls:", "mtls:a\nb", "jwt:issuer", "jwt:a b c", "jwt: b", "saml:a b"):
        with refused(Reason.POLICY_INVALID):
            Principal("anna", (), (), (identity,))
    for action in ("allow", ""):
        with refused(Reason.POLICY_INVALID):
            PolicyRules({}, action, "flag", 1, 0)
        with refused(Reason.POLICY_INVALID):
            PolicyRules({}, "flag", action, 1, 0)
    with refused(Reason.NAME_MALFORMED):
        Principal("Anna", (), (), ())
    for make in (
        lambda: PolicyRoot((KEYID, KEYID), 1),
        lambda: PolicyRoot(("anna",), 1),
        lambda: Principal("anna", ("client", "client"), (), ()),
        lambda: Principal("anna", (), (KEYID, KEYID), ()),
        lambda: PolicyRules({"production": 0}, "block", "flag", 1, 0),
        lambda: PolicyRules({}, "block", "flag", 0, 0),
        lambda: PolicyRules({}, "block", "flag", 1, -1),
        lambda: make_policy(version=0),
        lambda: make_policy(issued="yesterday"),
        lambda: make_policy(registry_log="log"),
    ):
        with refused(Reason.DOCUMENT_MALFORMED):
            make()


@pytest.mark.parametrize("place", [(), ("root",), ("principals", 0), ("promotion",), ("logs",)])
def test_unknown_and_missing_fields_are_refused(place: tuple[str | int, ...]) -> None:
    for change in ("add", "remove"):
        document = canonical.decode(POLICY.encode())
        part = document
        for step in place:
            part = part[step]
        if change == "add":
            part["comment"] = ""
        else:
            part.popitem()
        with refused(Reason.DOCUMENT_MALFORMED):
            Policy.decode(canonical.encode(document))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", "1"),
        ("version", True),
        ("keys", []),
        ("keys", {KEYID: 7}),
        ("keys", {KEYID: "-----BEGIN"}),
        ("principals", {}),
        ("principals", [[]]),
        ("screening", {"adversarial": [], "suspect": "flag"}),
        ("type", "sealgate/policy/v2"),
    ],
)
def test_fields_of_another_type_are_refused(name: str, value: Any) -> None:
    document = canonical.decode(POLICY.encode()) | {name: value}
    with refused(Reason.DOCUMENT_MALFORMED):
        Policy.decode(canonical.encode(document))


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.org/batch",
        "spiffe://example.org/ns/prod/sa/Scorer_1.0",
        "spiffe://example.org/..a/...",
        "spiffe://example.org/" + "a" * 2027,
    ],
)
def test_a_workload_is_known_by_its_spiffe_id(uri: str) -> None:
    assert Principal("batch", (), (), (f"spiffe:{uri}",)).identities == (f"spiffe:{uri}",)


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe:///batch",
        "spiffe://Example.org/batch",
        "SPIFFE://example.org/batch",
        "https://example.org/batch",
        "spiffe://example.org:443/batch",
        "spiffe://me@example.org/batch",
        "spiffe://example.org/batch/",
        "spiffe://example.org//batch",
        "spiffe://example.org/./batch",
        "spiffe://example.org/../batch",
        "spiffe://example.org/batch/..",
        "spiffe://example.org/b%61tch",
        "spiffe://example.org/batch?x",
        "spiffe://example.org/batch#x",
        "spiffe://example.org/batch\n",
        "spiffe://example.org/b\u00e4tch",
        "spiffe://example.org/" + "a" * 2028,
        "",
    ],
)
def test_what_is_no_spiffe_id(uri: str) -> None:
    with refused(Reason.POLICY_INVALID):
        Principal("batch", (), (), (f"spiffe:{uri}",))
