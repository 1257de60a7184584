"""True outcomes of answers: reports of them, and what they say of each promotion of an alias."""

from gateway.outcomes.book import OutcomeAlarm, OutcomeBook, Promotion, ShownOutcomes
from gateway.outcomes.columns import ColumnDrift, ColumnWatch
from gateway.outcomes.judged import JudgedAnswer, Truth, judge
from gateway.outcomes.reports import MOST_REPORTS, OutcomeReport, OutcomeReports, ReportResult

__all__ = [
    "MOST_REPORTS",
    "ColumnDrift",
    "ColumnWatch",
    "JudgedAnswer",
    "OutcomeAlarm",
    "OutcomeBook",
    "OutcomeReport",
    "OutcomeReports",
    "Promotion",
    "ReportResult",
    "ShownOutcomes",
    "Truth",
    "judge",
]
