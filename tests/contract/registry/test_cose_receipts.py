"""COSE receipts of the registry's log: what the log's key signs for them, and when it does not."""

from collections.abc import Callable

import pytest
from sqlalchemy import delete, update

from registry.state.schema import LOG
from sealgate.reasons import Reason
from sealgate.trust.policy import Policy
from sealgate.trust.policy.validity import FormerLogKey, FormerLogKeys
from sealgate.trust.receipts.cose_receipt import CoseReceipt, TransparentStatement
from sealgate.trust.transparency import RotatingSigner
from sealgate.trust.transparency.note import vkey
from tests.support.builders.documents.people import REGISTRY_LOG, key, refused
from tests.support.harness.registry import RegistryHarness

OLD, NEW = key("registry-log"), key("registry-next")


def test_every_entry_has_a_receipt_and_a_statement(harness: RegistryHarness) -> None:
    registry = harness.registry
    size = registry.log.size()
    for index in range(size):
        entry = registry.log.entry(index)
        receipt = CoseReceipt.decode(registry.cose_receipts.receipt(index).encode())
        assert receipt.verify(entry, harness.policy).size == size
        data = registry.cose_receipts.statement(index).encode()
        statement = TransparentStatement.decode(data)
        assert statement.entry == entry
        assert statement.verify(harness.policy)[0] == index


def test_one_signature_of_a_root_serves_every_entry_under_it(harness: RegistryHarness) -> None:
    registry = harness.registry
    first, second = (registry.cose_receipts.receipt(index) for index in (0, 1))
    assert first.signed is second.signed
    registry.models.create("paula", "letters")
    assert registry.cose_receipts.receipt(0).signed is first.signed
    newest = registry.cose_receipts.receipt(registry.log.size() - 1)
    assert newest.size == first.size + 1


def test_entries_that_are_not_there_have_no_receipt(harness: RegistryHarness) -> None:
    registry = harness.registry
    for index in (-1, registry.log.size(), 2**52):
        with refused(Reason.ENTRY_UNKNOWN):
            registry.cose_receipts.receipt(index)
        with refused(Reason.ENTRY_UNKNOWN):
            registry.cose_receipts.statement(index)


def test_nothing_is_signed_once_the_log_is_halted(harness: RegistryHarness) -> None:
    registry = harness.registry
    registry.cose_receipts.receipt(0)
    registry.halt("a witness saw another log")
    for ask in (registry.cose_receipts.receipt, registry.cose_receipts.statement):
        with refused(Reason.LOG_INCONSISTENT):
            ask(0)


def _another_entry(harness: RegistryHarness) -> None:
    with harness.database.writing() as connection:
        connection.execute(update(LOG.leaves).where(LOG.leaves.c.index == 0).values(data=b"{}"))
        connection.commit()


def _an_older_state(harness: RegistryHarness) -> None:
    newest = harness.registry.log.size()
    with harness.database.writing() as connection:
        table = LOG.checkpoints
        connection.execute(delete(table).where(table.c.size == newest))
        connection.commit()


@pytest.mark.parametrize("forge", [_another_entry, _an_older_state])
def test_a_database_that_was_edited_gets_no_statement_signed(
    harness: RegistryHarness, forge: Callable[[RegistryHarness], None]
) -> None:
    forge(harness)
    with refused(Reason.LOG_INCONSISTENT):
        harness.registry.cose_receipts.statement(0)


def test_after_a_hand_over_the_new_key_signs_and_older_receipts_verify(
    harness: RegistryHarness,
) -> None:
    harness.log_signer = RotatingSigner(OLD, NEW)
    registry = harness.reopen()
    entry, before = registry.log.entry(0), registry.cose_receipts.receipt(0)
    old, new = (vkey(REGISTRY_LOG, each.public) for each in (OLD, NEW))

    def policy(size: int | None) -> Policy:
        former = FormerLogKeys({REGISTRY_LOG: (FormerLogKey(old, size),)})
        return harness.accept(registry_log=new, former_logs=former)

    assert registry.hand_over(policy(None).log_key(REGISTRY_LOG))
    after = registry.cose_receipts.receipt(0)
    assert (before.signed.kid, after.signed.kid) == (OLD.public.keyid, NEW.public.keyid)
    handed_over = policy(registry.log.size())
    for receipt in (before, after):
        assert receipt.verify(entry, handed_over).origin == REGISTRY_LOG
