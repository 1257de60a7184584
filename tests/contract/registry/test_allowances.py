"""Allowances are used once, by whichever gateway is first, and stand in the log with their text."""

from dataclasses import replace

from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, StepUpRule
from sealgate.trust.statements import sign_statement
from tests.support.builders.documents.allowances import an_allowance, held
from tests.support.builders.documents.people import key, refused
from tests.support.harness.registry import RegistryHarness


def ready(harness: RegistryHarness) -> RegistryHarness:
    harness.accept(
        screens=ScreeningPolicy({"digits": ScreeningRules(step_up=StepUpRule("approver", 900))})
    )
    return harness


def test_an_allowance_is_used_once(harness: RegistryHarness) -> None:
    registry = ready(harness).registry
    word = an_allowance()
    envelope = sign_statement(word, key("anna"))
    size = registry.log.size()
    assert registry.allowances.use(envelope, held(word)) == word
    with refused(Reason.ALLOWANCE_USED):
        registry.allowances.use(envelope, held(word))
    (block,) = registry.audit_trail.records(size, size + 1)
    (proven,) = block
    assert b'"request.allowed"' in proven.leaf
    assert word.input.encode() not in proven.leaf
    assert [Envelope.decode(document) for document in proven.documents] == [envelope]


def test_what_stands_for_another_request_is_not_used_up(harness: RegistryHarness) -> None:
    registry = ready(harness).registry
    word = an_allowance()
    envelope = sign_statement(word, key("anna"))
    with refused(Reason.ALLOWANCE_MISMATCH):
        registry.allowances.use(envelope, replace(held(word), caller="paula"))
    assert registry.allowances.use(envelope, held(word)) == word


def test_where_the_policy_lets_nobody_allow_nothing_passes(harness: RegistryHarness) -> None:
    word = an_allowance(model="faces")
    with refused(Reason.ALLOWANCE_SIGNER):
        ready(harness).registry.allowances.use(sign_statement(word, key("anna")), held(word))
