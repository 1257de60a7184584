"""A bound is withdrawn once, for a version that there is, and in the log."""

from sealgate.reasons import Reason
from tests.support.builders.documents.people import ANSWER_LOG, REGISTRY_LOG, refused
from tests.support.harness.registry import RegistryHarness

FINDING = {"requests": 412, "log10_evidence": 3}


def test_a_bound_is_withdrawn_once(harness: RegistryHarness) -> None:
    version = harness.publish("one")
    drifts = harness.registry.drifts
    assert drifts.withdrawn() == {}
    assert drifts.withdraw("gateway", ANSWER_LOG, "digits", version.version, FINDING)
    size = harness.registry.log.size()
    assert not drifts.withdraw("gateway", ANSWER_LOG, "digits", version.version, FINDING)
    assert harness.registry.log.size() == size
    assert drifts.withdrawn().keys() == {version.digest}
    assert b'"log10_evidence":3' in harness.registry.log.entry(size - 1)


def test_what_is_not_there_is_refused(harness: RegistryHarness) -> None:
    version = harness.publish("one").version
    for reason, origin, number in (
        (Reason.LOG_UNKNOWN, REGISTRY_LOG, version),
        (Reason.VERSION_UNKNOWN, ANSWER_LOG, version + 1),
    ):
        with refused(reason):
            harness.registry.drifts.withdraw("gateway", origin, "digits", number, FINDING)
