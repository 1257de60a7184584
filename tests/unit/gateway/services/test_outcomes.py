"""Reports of outcomes: how many are read of a call, whoever sends it."""

from typing import Any

import pytest

from gateway.services.outcomes import OutcomeService
from sealgate.reasons import Reason
from sealgate.v1 import outcome_pb2 as messages
from tests.support.builders.documents.people import refused


class Reports:
    """Remembers what was taken."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self, call: Any, origin: str, reports: list[Any], request_id: str) -> list[Any]:
        self.taken.append(len(reports))
        return []


def report(count: int, truths: int = 0) -> list[int]:
    """How many reports were taken of a call with so many, of so many truths each."""
    reports, request = Reports(), messages.ReportOutcomesRequest()
    for _ in range(count):
        one = request.reports.add()
        for _ in range(truths):
            one.truths.add()
    parts: Any = (reports, None, None)
    OutcomeService(*parts).ReportOutcomes(request, None)  # type: ignore[arg-type]
    return reports.taken


def test_as_many_reports_are_read_as_are_taken() -> None:
    """A message of 4 MB has room for two million."""
    assert report(256) == [256]
    with refused(Reason.PARAMETER_MALFORMED):
        report(257)


@pytest.mark.parametrize("count", [1, 2])
def test_no_more_truths_are_read_than_large_batches_have(count: int) -> None:
    most = (1 << 17) // count
    assert report(count, truths=most) == [count]
    with refused(Reason.PARAMETER_MALFORMED):
        report(count, truths=most + 1)
