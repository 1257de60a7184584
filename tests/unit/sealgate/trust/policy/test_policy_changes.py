"""The differences between two policies as a signer sees them: all of them, and nothing else."""

from dataclasses import replace

import pytest

from sealgate.trust.policy import WILDCARD, Policy, PolicyRoot, Principal, Right, policy_changes
from sealgate.trust.policy.promotion_rules import RiskTiers
from tests.support.builders.documents.people import at, make_policy

FIRST = make_policy()
READ = Right(("anna",), (), ("read",), (WILDCARD,), (WILDCARD,))


def principals(policy: Policy, **roles: tuple[str, ...]) -> tuple[Principal, ...]:
    return tuple(replace(p, roles=roles.get(p.name, p.roles)) for p in policy.principals)


@pytest.mark.parametrize(
    ("after", "shown"),
    [
        ({}, []),
        ({"version": 2}, ["~ version: 1 -> 2"]),
        (
            {"principals": principals(FIRST, anna=("approver", "admin"))},
            ['+ principals.anna.roles: "admin"'],
        ),
        (
            {"principals": principals(FIRST, anna=("admin",))},
            ['- principals.anna.roles: "approver"', '+ principals.anna.roles: "admin"'],
        ),
        (
            {"root": PolicyRoot(FIRST.root.keys[:2], 1)},
            [f'- root.keys: "{FIRST.root.keys[2]}"', "~ root.threshold: 2 -> 1"],
        ),
        (
            {"rules": replace(FIRST.rules, approvals={"production": 1}, suspect="block")},
            [
                "- promotion.approvals.canary: 1",
                "~ promotion.approvals.production: 2 -> 1",
                '~ screening.suspect: "flag" -> "block"',
            ],
        ),
        ({"risk": RiskTiers({}, {})}, ['+ risk: {"approvals": {}, "models": {}}']),
    ],
)
def test_each_difference_is_a_line(after: dict, shown: list[str]) -> None:
    assert [str(change) for change in policy_changes(FIRST, make_policy(**after))] == shown


def test_people_come_and_go_by_name() -> None:
    fewer = make_policy(principals=FIRST.principals[1:])
    (gone,) = policy_changes(FIRST, fewer)
    assert (gone.path, gone.after) == ("principals.paula", "")
    (come,) = policy_changes(fewer, FIRST)
    assert (come.path, come.before) == ("principals.paula", "")


def test_an_order_alone_is_a_difference() -> None:
    (change,) = policy_changes(FIRST, make_policy(principals=FIRST.principals[::-1]))
    assert change.path == "principals"
    root = PolicyRoot(FIRST.root.keys[::-1], 2)
    assert [change.path for change in policy_changes(FIRST, make_policy(root=root))] == [
        "root.keys"
    ]


def test_rights_are_shown_whole() -> None:
    before = make_policy(rights=(READ,))
    after = make_policy(rights=(READ, replace(READ, actions=("approve",))), expires=at(days=9))
    found = policy_changes(before, after)
    assert [(change.path, change.before) for change in found][1] == ("rights", "")
    assert '"approve"' in found[1].after
