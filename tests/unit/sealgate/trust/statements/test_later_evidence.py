"""Evidence that came later, as a registry may show it to an approver: checked before it is read."""

from dataclasses import replace
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.signed_version import open_attached
from sealgate.trust.policy import EvidenceRules
from sealgate.trust.statements import Evidence, sign_statement
from tests.support.builders.documents.people import VERSION_DIGEST, at, key, make_policy, refused

REPORT = Evidence(EvidenceRules.RED_TEAM, VERSION_DIGEST, "anna", at(), {"attacks": {}})
OTHER = "sha256:" + "9" * 64


def envelope(signer: str = "anna", **changes: Any) -> bytes:
    return sign_statement(replace(REPORT, **changes), key(signer)).encode()


def test_reports_come_in_their_order() -> None:
    second = replace(REPORT, maker="otto", body={"attacks": {"pgd": 1}})
    sent = [envelope(), sign_statement(second, key("otto")).encode()]
    assert open_attached(sent, VERSION_DIGEST, [make_policy()]) == (REPORT, second)


@pytest.mark.parametrize(
    ("reason", "signer", "changes"),
    [
        (Reason.SIGNER_MISMATCH, "arne", {}),
        (Reason.ROLE_TOO_LOW, "carla", {"maker": "carla"}),
        (Reason.EVIDENCE_MISMATCH, "anna", {"version_digest": OTHER}),
        (Reason.EVIDENCE_MISMATCH, "anna", {"kind": "golden-run"}),
    ],
)
def test_what_is_not_by_whom_it_says_or_not_about_it(
    reason: Reason, signer: str, changes: dict[str, Any]
) -> None:
    with refused(reason):
        open_attached([envelope(signer, **changes)], VERSION_DIGEST, [make_policy()])


def test_a_report_stays_when_who_made_it_has_left() -> None:
    first = make_policy()
    left = [person for person in first.principals if person.name != "anna"]
    roles = [person.roles for person in left]
    assert any("approver" in each for each in roles)
    newest = replace(first, version=2, principals=tuple(left), keys=_keys_of(first, "anna"))
    assert open_attached([envelope()], VERSION_DIGEST, [first, newest]) == (REPORT,)
    with refused(Reason.SIGNER_MISMATCH):
        open_attached([envelope()], VERSION_DIGEST, [newest])


def _keys_of(policy: Any, gone: str) -> dict[str, Any]:
    lost = policy.principal(gone).keys
    return {keyid: key for keyid, key in policy.keys.items() if keyid not in lost}
