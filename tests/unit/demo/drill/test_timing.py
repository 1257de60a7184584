"""The drill's timing: when good answers came again, and the table."""

from dataclasses import replace

from rich.console import Console

from demo.drill.timing import CaseResult, DrillRequest, median_ms, recovered_at, table
from sealgate.reasons import Reason

WHOLE = CaseResult("full disk", "a full disk", "an alert", 1.0, "room", 2.0, "audit verify", 3.0)


def answer(sent: float, version: int = 1, took: float = 0.1) -> DrillRequest:
    return DrillRequest(sent, sent + took, version)


def refusal(sent: float, reason: Reason) -> DrillRequest:
    return DrillRequest(sent, sent + 0.1, reason=reason)


def of_version_1(asked: DrillRequest) -> bool:
    return asked.version == 1


def recovered(*asked: DrillRequest, since: float = 0.0) -> float | None:
    return recovered_at(asked, since, of_version_1)


def test_the_first_good_answer_after_the_alarm_counts() -> None:
    assert recovered(answer(1), answer(2), since=1.5) == 2.1


def test_answers_before_the_last_bad_one_do_not_count() -> None:
    assert recovered(answer(1), answer(2, version=2), answer(3), answer(4)) == 3.1


def test_a_refused_request_is_bad_and_one_that_screening_withheld_is_not() -> None:
    engine = refusal(2, Reason.ENGINE_UNAVAILABLE)
    assert recovered(answer(1), engine, answer(3)) == 3.1
    assert recovered(answer(1), refusal(2, Reason.ADVERSARIAL_INPUT), answer(3)) == 1.1


def test_without_a_good_answer_nothing_has_recovered() -> None:
    assert recovered(answer(1, version=2)) is None
    assert recovered(answer(1), answer(2, version=2)) is None
    assert recovered() is None


def test_a_good_answer_that_was_sent_before_a_bad_one_and_came_late_does_not_count() -> None:
    assert recovered(answer(1, took=5), answer(2, version=2), answer(3)) == 3.1


def test_the_median_is_over_answers_alone() -> None:
    refused = refusal(1, Reason.RECORD_FAILED)
    asked = [answer(1, took=0.002), answer(1, took=0.004), answer(1, took=9), refused]
    assert round(median_ms(asked)) == 4
    assert median_ms([refused]) == 0


def test_a_case_holds_only_if_nothing_is_missing_and_nothing_lost() -> None:
    assert WHOLE.held
    for change in ({"detect": None}, {"recover": None}, {"explain": None}, {"lost": 1}):
        assert not replace(WHOLE, **change).held


def test_the_table_says_how_long_and_by_what_and_what_never_happened() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table([replace(WHOLE, answers=40), CaseResult("slow version", "a canary")]))
    text = captured.get()
    for words in ("1.0 s", "an alert", "2.0 s", "room", "3.0 s", "audit verify", "0 of 40"):
        assert words in text
    assert text.count("NEVER") == 3
