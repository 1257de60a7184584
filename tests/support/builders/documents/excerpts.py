"""Excerpts of the registry's log, as an auditor takes them and as somebody may have cut them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from registry.audit.trail import RegistryExcerpt as Shown
from sealgate.audit import prove_entry
from sealgate.audit.entries import LogExcerpt, ProvedEntry
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import verify_freshness
from sealgate.trust.transparency import open_checkpoint
from tests.support.harness.registry import RegistryHarness

MINUTE = timedelta(minutes=1)


def opened(harness: RegistryHarness, shown: Shown) -> LogExcerpt:
    """The excerpt as a client opens it: everything is checked."""
    checkpoint = open_checkpoint(shown.note, harness.policy.registry_log)
    freshness = verify_freshness(Envelope.decode(shown.freshness), harness.policy, harness.now)
    for entry in shown.entries:
        prove_entry(entry.leaf, entry.index, entry.hashes, checkpoint)
    entries = tuple(ProvedEntry.read(e.index, e.leaf, e.documents) for e in shown.entries)
    return LogExcerpt(checkpoint, freshness, entries)


def without(shown: Shown, drop: Callable[[ProvedEntry], bool]) -> Shown:
    """The same, but for the entries that are to be withheld."""
    kept = [e for e in shown.entries if not drop(ProvedEntry.read(e.index, e.leaf, e.documents))]
    return replace(shown, entries=tuple(kept))
