"""Reports of true outcomes to a real gateway over gRPC, which shares its process with the caller.

Answers are asked for one by one. Their outcomes are then reported in batches of 256, from one
caller: each is checked against its entry, recorded durably, and answered with its own entry. Then
all are reported again, which changes nothing.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.report import Row, Target
from sealgate.v1 import outcome_pb2 as messages
from tests.support.harness.gateway import running
from tests.support.harness.outcomes import TAKEN, answer_by, outcomes, report_of
from tests.support.harness.policy_changes import accept

_AT_ONCE = 256
WHOLE, QUICK = 40, 4
"""Batches."""


def measure(batches: int) -> list[Row]:
    with (
        TemporaryDirectory() as folder,
        running(Path(folder) / "state", "digits-standard") as harness,
    ):
        harness.promote("digits", 1)
        accept(harness, outcomes=TAKEN)
        asking = harness.inference()
        answers = [answer_by(asking, number) for number in range(batches * _AT_ONCE)]
        reports = [report_of(each, groups={"age": "old"}) for each in answers]
        requests = [
            messages.ReportOutcomesRequest(
                origin=answers[0].origin, reports=reports[at : at + _AT_ONCE]
            )
            for at in range(0, len(reports), _AT_ONCE)
        ]
        stub = outcomes(harness)
        rows = []
        for run in ("first", "again"):
            seconds = []
            for request in requests:
                began = time.perf_counter()
                results = stub.ReportOutcomes(request, timeout=60).results
                seconds.append(time.perf_counter() - began)
                refused = [each.reason for each in results if each.reason]
                if refused:
                    raise RuntimeError(f"refused: {refused[0]}")
            rows.append(_row(run, seconds))
    return rows


def targets(rows: list[Row]) -> list[Target]:
    return [Target("outcome reports a second", rows[0]["per_second"], 2_000, least=True)]


def _row(run: str, seconds: Sequence[float]) -> Row:
    p50, p95 = (1e3 * float(np.percentile(seconds, share)) for share in (50, 95))
    reports = _AT_ONCE * len(seconds)
    return {
        "run": run,
        "reports": reports,
        "per_second": reports / sum(seconds),
        "batch_p50_ms": p50,
        "batch_p95_ms": p95,
    }
