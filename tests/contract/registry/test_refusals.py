"""Counts of anonymous refusals are entries of the log like any other."""

import json

import pytest

from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import ANSWER_LOG
from tests.support.harness.registry import RegistryHarness


def test_each_period_is_an_entry_that_the_record_verifies(harness: RegistryHarness) -> None:
    refusals = harness.registry.refusals
    first = refusals.count("gateway", ANSWER_LOG, {"TOKEN_EXPIRED": 3, "CREDENTIAL_MISSING": 1})
    second = refusals.count("gateway", ANSWER_LOG, {"TOKEN_EXPIRED": 2})
    entries = [json.loads(harness.registry.log.entry(index)) for index in (first, second)]
    assert [entry["event"] for entry in entries] == ["refusals.counted"] * 2
    assert [entry["body"]["number"] for entry in entries] == [1, 2]
    assert entries[0]["body"]["counts"] == {"TOKEN_EXPIRED": 3, "CREDENTIAL_MISSING": 1}
    harness.registry.verify()


@pytest.mark.parametrize(
    ("origin", "counts", "reason"),
    [
        ("elsewhere/answers", {"TOKEN_EXPIRED": 1}, Reason.LOG_UNKNOWN),
        (ANSWER_LOG, {"NO_SUCH_REASON": 1}, Reason.DOCUMENT_MALFORMED),
        (ANSWER_LOG, {"TOKEN_EXPIRED": 0}, Reason.DOCUMENT_MALFORMED),
    ],
)
def test_what_is_not_counted(
    harness: RegistryHarness, origin: str, counts: dict[str, int], reason: Reason
) -> None:
    with pytest.raises(SealgateError) as caught:
        harness.registry.refusals.count("gateway", origin, counts)
    assert caught.value.reason is reason
