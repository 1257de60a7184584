"""The requests that an allowance lets pass, and those that it does not."""

from dataclasses import replace
from typing import Any

import pytest

from sealgate.reasons import Reason
from sealgate.trust import dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.screening import StepUpRule
from sealgate.trust.statements import sign_statement
from sealgate.trust.statements.allowance import Allowance, HeldRequest, open_allowance
from tests.support.builders.documents.allowances import INPUT, an_allowance, held
from tests.support.builders.documents.people import (
    NOW,
    VERSION_DIGEST,
    at,
    key,
    make_policy,
    refused,
)

POLICY = make_policy()
STEP = StepUpRule("approver", 900)
ALLOWANCE = an_allowance()
HELD = held(ALLOWANCE)


def opened(envelope: Envelope, held: HeldRequest = HELD, step_up: StepUpRule = STEP) -> Allowance:
    return open_allowance(envelope, held, step_up, POLICY, NOW)


def test_a_second_persons_allowance_opens() -> None:
    assert opened(sign_statement(ALLOWANCE, key("anna"))) == ALLOWANCE


@pytest.mark.parametrize(
    ("reason", "changes", "signer"),
    [
        (Reason.ALLOWANCE_MISMATCH, {"caller": "paula"}, "anna"),
        (Reason.ALLOWANCE_MISMATCH, {"model": "faces"}, "anna"),
        (Reason.ALLOWANCE_MISMATCH, {"digest": INPUT}, "anna"),
        (Reason.ALLOWANCE_MISMATCH, {"input": VERSION_DIGEST}, "anna"),
        (Reason.ALLOWANCE_SIGNER, {}, "arne"),
        (Reason.ALLOWANCE_SIGNER, {"person": "peter"}, "peter"),
        (Reason.ALLOWANCE_SIGNER, {"person": "nobody"}, "anna"),
        (Reason.ALLOWANCE_EXPIRED, {"expires": at()}, "anna"),
        (Reason.ALLOWANCE_EXPIRED, {"issued": at(minutes=6), "expires": at(minutes=9)}, "anna"),
        (Reason.ALLOWANCE_EXPIRED, {"expires": at(minutes=11)}, "anna"),
        (Reason.ALLOWANCE_EXPIRED, {"expires": at(days=-1)}, "anna"),
    ],
)
def test_another_allowance_lets_nothing_pass(
    reason: Reason, changes: dict[str, Any], signer: str
) -> None:
    with refused(reason):
        opened(sign_statement(replace(ALLOWANCE, **changes), key(signer)))


def test_nobody_allows_their_own_request() -> None:
    own = replace(ALLOWANCE, caller="anna")
    with refused(Reason.ALLOWANCE_SIGNER):
        opened(sign_statement(own, key("anna")), replace(HELD, caller="anna"))


def test_a_forged_signature_and_another_type_are_refused() -> None:
    genuine = sign_statement(ALLOWANCE, key("anna"))
    forged = replace(genuine, payload=replace(ALLOWANCE, caller="paula").encode())
    with refused(Reason.SIGNATURE_INVALID):
        opened(forged, replace(HELD, caller="paula"))
    other = dsse.sign("application/vnd.sealgate.approval.v1+json", ALLOWANCE.encode(), key("anna"))
    with refused(Reason.SIGNATURE_INVALID):
        opened(other)


def test_a_second_signature_beside_it_is_refused() -> None:
    with refused(Reason.ALLOWANCE_SIGNER):
        opened(sign_statement(ALLOWANCE, key("anna"), key("arne")))
