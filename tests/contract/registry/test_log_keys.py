"""The registry's log goes on under its next key; the former one signs nothing later."""

import pytest
from sqlalchemy import update

from registry.state.schema import LOG
from sealgate.reasons import Reason
from sealgate.trust.policy.validity import FormerLogKey, FormerLogKeys
from sealgate.trust.transparency import (
    RotatingSigner,
    open_checkpoint,
    sign_checkpoint,
)
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import ANSWER_LOG, REGISTRY_LOG, key, refused
from tests.support.harness.registry import RegistryHarness

OLD, NEW = key("registry-log"), key("registry-next")
OLD_LINE, NEW_LINE = (vkey(REGISTRY_LOG, each.public) for each in (OLD, NEW))


def former(line: str, size: int | None = None) -> FormerLogKeys:
    origin = ANSWER_LOG if line.startswith(ANSWER_LOG) else REGISTRY_LOG
    return FormerLogKeys({origin: (FormerLogKey(line, size),)})


@pytest.fixture
def handed_over(harness: RegistryHarness) -> RegistryHarness:
    harness.log_signer = RotatingSigner(OLD, NEW)
    registry = harness.reopen()
    policy = harness.accept(registry_log=NEW_LINE, former_logs=former(OLD_LINE))
    assert registry.hand_over(policy.log_key(REGISTRY_LOG))
    registry.end_hand_over()
    registry.models.create("paula", "by-the-next-key")
    return harness


def test_a_thief_of_the_former_key_extends_nothing_that_a_running_gateway_reads(
    handed_over: RegistryHarness,
) -> None:
    honest, database = handed_over.registry, handed_over.database
    with database.writing() as connection:
        note = honest.note
        signed = sign_checkpoint(open_checkpoint(note, NEW_LINE), OLD)
        at = LOG.checkpoints.c.note == note
        connection.execute(update(LOG.checkpoints).where(at).values(note=signed))
        connection.commit()
    handed_over.log_signer = OLD
    thief = handed_over.open()
    thief.models.create("mallory", "forged")
    thief.close()
    for act in (honest.logged, lambda: honest.models.create("paula", "later")):
        with refused(Reason.LOG_INCONSISTENT):
            act()


def test_what_was_signed_before_the_hand_over_still_verifies(handed_over: RegistryHarness) -> None:
    handed_over.registry.verify()
    assert handed_over.registry.log.verify().size == handed_over.registry.log.size()
    handed_over.log_signer = NEW
    handed_over.reopen().verify()


@pytest.mark.parametrize("listed", [None, former(OLD_LINE, 1)], ids=["dropped", "too small a size"])
def test_a_policy_without_what_the_next_start_needs_is_refused(
    handed_over: RegistryHarness, listed: FormerLogKeys | None
) -> None:
    with refused(Reason.POLICY_INVALID) as caught:
        handed_over.accept(former_logs=listed)
    assert "former_logs" in caught.value.detail
    size = open_checkpoint(handed_over.registry.note, NEW_LINE).size
    handed_over.accept(former_logs=former(OLD_LINE, size))
    handed_over.reopen()


def test_no_log_goes_back_to_a_key_that_was_replaced(harness: RegistryHarness) -> None:
    (first,) = harness.policy.answer_logs
    second = vkey(ANSWER_LOG, key("answers-next").public)
    harness.accept(answer_logs=(second,), former_logs=former(first))
    # Nor once it is listed no more.
    harness.accept(former_logs=None)
    with refused(Reason.POLICY_INVALID) as caught:
        harness.accept(answer_logs=(first,), former_logs=former(second))
    assert "a key that was replaced" in caught.value.detail
