"""A bound is withdrawn once, for a version that there is, and in the log."""

from sealgate.reasons import Reason
from tests.support.bureau import Bureau
from tests.support.people import ANSWER_LOG, REGISTRY_LOG, refused

FINDING = {"requests": 412, "log10_evidence": 3}


def test_a_bound_is_withdrawn_once(bureau: Bureau) -> None:
    version = bureau.publish("one")
    drifts = bureau.registry.drifts
    assert drifts.withdrawn() == {}
    assert drifts.withdraw("gateway", ANSWER_LOG, "digits", version.version, FINDING)
    size = bureau.registry.log.size()
    assert not drifts.withdraw("gateway", ANSWER_LOG, "digits", version.version, FINDING)
    assert bureau.registry.log.size() == size
    assert drifts.withdrawn().keys() == {version.digest}
    assert b'"log10_evidence":3' in bureau.registry.log.entry(size - 1)


def test_what_is_not_there_is_refused(bureau: Bureau) -> None:
    version = bureau.publish("one").version
    for reason, origin, number in (
        (Reason.LOG_UNKNOWN, REGISTRY_LOG, version),
        (Reason.VERSION_UNKNOWN, ANSWER_LOG, version + 1),
    ):
        with refused(reason):
            bureau.registry.drifts.withdraw("gateway", origin, "digits", number, FINDING)
