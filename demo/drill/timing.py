"""A drill's measurements: requests as callers saw them, and one row of the table for each case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from sealgate.reasons import Reason

MOST_SECONDS = 60.0
"""Within so many seconds each case should be detected, and then be over."""
MOST_TO_EXPLAIN = 10.0


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """One request: when it was sent and had its answer, in seconds of `time.monotonic`.

    Of an answer: `version`, whether it was `right`, its receipt, and by that its `index` in the
    answer log and the log's `entry`. Of a refusal: `reason`.
    """

    sent: float
    received: float
    version: int = 0
    right: bool = False
    index: int = -1
    entry: bytes = b""
    receipt: bytes = b""
    reason: Reason | None = None

    @property
    def answered(self) -> bool:
        return self.reason is None

    @property
    def withheld(self) -> bool:
        """Whether screening refused it: that says nothing about a breakdown."""
        return self.reason is Reason.ADVERSARIAL_INPUT


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case. Seconds are None for what did not happen.

    `detect`: from the break to the first alarm. `recover`: from the alarm to the first good answer
    after which no caller got another kind. `explain`: how long the audit command took. `answers`
    are those since the case's preparation, `refused` the requests since the break.
    """

    case: str
    broken_by: str
    detected_by: str = ""
    detect: float | None = None
    recovered_by: str = ""
    recover: float | None = None
    explained_by: str = ""
    explain: float | None = None
    answers: int = 0
    lost: int = 0
    refused: int = 0

    @property
    def held(self) -> bool:
        """Whether it was detected, is over, was explained, and no answer was lost."""
        return None not in (self.detect, self.recover, self.explain) and self.lost == 0


def recovered_at(
    asked: Sequence[DrillRequest], since: float, good: Callable[[DrillRequest], bool]
) -> float | None:
    """When the first good answer after `since` came that no request of another kind followed.

    Requests that screening withheld do not count. None where no such answer came.
    """
    counted = [item for item in asked if not item.withheld]
    last_bad = max((item.sent for item in counted if not good(item)), default=since)
    return min(
        (i.received for i in counted if good(i) and i.received > since and i.sent > last_bad),
        default=None,
    )


def median_ms(asked: Sequence[DrillRequest]) -> float:
    """The median time of the answers, in milliseconds; 0 if there is none."""
    times = [item.received - item.sent for item in asked if item.answered]
    return 1000 * median(times) if times else 0.0


def table(results: Sequence[CaseResult]) -> Table:
    """The cases, for people."""
    shown = Table(title="The drill", title_justify="left", header_style="bold", show_lines=True)
    for name in ("case", "detected", "rolled back or recovered", "explained", "answers lost"):
        shown.add_column(name, overflow="fold")
    for item in results:
        shown.add_row(
            f"{item.case}\n{item.broken_by}",
            _cell(item.detect, item.detected_by),
            _cell(item.recover, item.recovered_by),
            _cell(item.explain, item.explained_by),
            f"{item.lost} of {item.answers}",
        )
    return shown


def _cell(seconds: float | None, by: str) -> str:
    return "NEVER" if seconds is None else f"{seconds:.1f} s\n{by}"
