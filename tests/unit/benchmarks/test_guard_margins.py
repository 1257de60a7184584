"""The verdict of a guard on a whole prompt follows from its highest window."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.guard.prompts import Prompts
from benchmarks.guard.published import Margins, Settled, by_windows, found_at
from gateway.screening.prompt_classifier import shown
from inference.llm.request import Sampling, SamplingRequest, said_in
from inference.text.text_windows import Windows
from tests.support.builders import byte_tokens
from training.run.finishing import FinishedRun


def prompt(text: str) -> SamplingRequest:
    return SamplingRequest(text.encode(), False, Sampling(1))


def test_a_prompt_is_what_its_worst_window_is() -> None:
    asked: list[str] = []

    def judge(texts):
        asked.extend(texts)
        return np.array([1.5 if "bad" in text else -float(len(text)) for text in texts])

    margins = Margins(Settled(judge), Windows(byte_tokens.opened(16)))
    some = [prompt("good"), prompt("good words before one bad one"), prompt("")]
    assert margins.of(some).tolist() == [-4.0, 1.5, -np.inf]
    assert margins.of(some[:1]).tolist() == [-4.0]
    assert len(asked) == len(set(asked))
    row = margins.row(Prompts("some", True, some, [some[:1], some]))
    assert (row["false_alarms"], row["false_alarms_of"]) == (pytest.approx(1 / 3), 3)
    assert row["singly_false_alarms"] == 0.5


def test_the_margin_falls_by_what_the_number_of_windows_adds() -> None:
    def judge(texts):
        return np.full(len(texts), 1.0)

    some = [prompt("good"), prompt("good words before many others that are good")]
    windows = Windows(byte_tokens.opened(16))
    count = len(shown(said_in(some[1]), windows))
    margins = Margins(Settled(judge, {4: 150}), windows)
    assert count > 4
    assert margins.of(some).tolist() == pytest.approx([1.0, 1.0 - 1.5])
    assert margins.of_windows(["good"]).tolist() == [1.0]


def test_a_run_that_bounds_no_alarms_raises_no_margin() -> None:
    def made(report: dict[str, Any]) -> FinishedRun:
        return FinishedRun(Path("model"), Path("data"), report)

    assert by_windows(made({})) == {}
    assert by_windows(made({"alarms": {"label": "injection"}})) == {}
    assert by_windows(made({"alarms": {"by_windows": {"2": 40}}})) == {2: 40}


@pytest.mark.parametrize(("rate", "found"), [(0.0, 0.25), (0.2, 0.5), (0.4, 0.75)])
def test_what_is_found_at_a_rate_of_false_alarms(rate: float, found: float) -> None:
    clean, injections = np.array([0.0, 1.0, 2.0, 3.0, 9.0]), np.array([0.5, 2.5, 4.0, 10.0])
    assert found_at(clean, injections, rate) == found
