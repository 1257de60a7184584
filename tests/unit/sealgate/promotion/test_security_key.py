"""Statements signed with a security key over CTAP, and the policy that asks for one."""

from dataclasses import replace
from typing import Any

import pytest

from sealgate.promotion.security_key import ORIGIN, sign_with_security_key
from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.policy.principals import Passkeys
from sealgate.trust.policy.promotion_rules import RiskTiers, SecurityKeyRules
from sealgate.trust.statements import (
    Approval,
    PointerBundle,
    open_statement,
    sign_statement,
)
from tests.support.builders.documents.authenticator import PRESENT, Authenticator
from tests.support.builders.documents.people import (
    VERSION_DIGEST,
    PromotionDocuments,
    at,
    changed_people,
    key,
    keyid,
    make_policy,
    refused,
    verified_pointer,
)
from tests.support.fakes.security_key import VirtualSecurityKey

ANNA = Authenticator("anna", origin=ORIGIN)
WEB = Authenticator("anna-web")
SAID = Approval(VERSION_DIGEST, "anna", "I have read it.", at())
HIGH = RiskTiers({"digits": "high", "notes": "low"}, {})


def policy_of(**changes: Any) -> Policy:
    """A policy in which Anna has a security key, and a passkey for the web."""
    people = changed_people("anna", keys=(keyid("anna"), ANNA.keyid, WEB.keyid))
    passkeys = Passkeys({one.keyid: one.passkey for one in (ANNA, WEB)})
    return make_policy(**({"principals": people, "webauthn": passkeys} | changes))


class TestSigning:
    def test_the_statement_is_the_one_that_a_key_signs(self) -> None:
        device = VirtualSecurityKey(ANNA)
        envelope = sign_with_security_key(SAID, policy_of(), None, device)
        assert open_statement(envelope, Approval, policy_of(), ("approver",)) == SAID
        assert envelope.payload == sign_statement(SAID, key("anna")).payload
        assert set(device.asked) == {ANNA.rp_id}

    def test_no_passkey_for_programs(self) -> None:
        device = VirtualSecurityKey(ANNA)
        with refused(Reason.KEY_UNREADABLE):
            sign_with_security_key(SAID, make_policy(), None, device)
        with refused(Reason.KEY_UNREADABLE):
            sign_with_security_key(replace(SAID, approver="arne"), policy_of(), None, device)

    def test_anothers_device(self) -> None:
        device = VirtualSecurityKey(Authenticator("arne", origin=ORIGIN))
        with refused(Reason.KEY_UNAVAILABLE):
            sign_with_security_key(SAID, policy_of(), None, device)

    def test_a_device_that_verifies_nobody(self) -> None:
        device = VirtualSecurityKey(ANNA, PRESENT)
        envelope = sign_with_security_key(SAID, policy_of(), None, device)
        with refused(Reason.WEBAUTHN_USER):
            open_statement(envelope, Approval, policy_of(), ("approver",))


class TestPolicy:
    def verify(self, policy: Policy, sign: Any) -> None:
        """Verify a promotion whose first approval is signed by `sign`."""
        office = PromotionDocuments(policy)
        proposal = office.proposal()
        said = replace(SAID, proposal=proposal.payload_digest, time=at(hours=-1))
        approvals = (sign(said), *office.approvals(proposal, "arne"))
        pointer = sign_statement(office.pointer(proposal, approvals), key("otto"))
        ordered = sorted(approvals, key=lambda one: one.payload_digest)
        bundle = PointerBundle(pointer, sign_statement(proposal, key("paula")), tuple(ordered))
        verified_pointer(bundle, first=policy)

    @pytest.mark.parametrize("risk", [HIGH, None])
    def test_a_tier_that_asks_for_a_security_key(self, risk: RiskTiers | None) -> None:
        policy = policy_of(risk=risk, security_keys=SecurityKeyRules(("high",)))
        self.verify(policy, ANNA.envelope)
        for sign in (WEB.envelope, lambda said: sign_statement(said, key("anna"))):
            with refused(Reason.SECURITY_KEY_MISSING):
                self.verify(policy, sign)

    def test_another_tier_asks_for_none(self) -> None:
        self.verify(policy_of(risk=HIGH, security_keys=SecurityKeyRules(("low",))), WEB.envelope)

    def test_the_section_is_read_as_it_was_written(self) -> None:
        policy = policy_of(security_keys=SecurityKeyRules(("high",)))
        assert Policy.decode(policy.encode()) == policy
        with refused(Reason.DOCUMENT_MALFORMED):
            SecurityKeyRules.from_json({"tiers": []})
