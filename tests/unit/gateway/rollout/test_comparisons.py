"""Versions are compared by what both of them decide."""

from types import SimpleNamespace

import numpy as np
import pytest

from gateway.rollout.comparisons import agree
from inference.engine.result import InferenceResult
from inference.model.decisions import Classes, Decision, Labels, Numbers
from inference.screening.detector import Verdict


def answer(*values: float) -> InferenceResult:
    outputs = {"y": np.array([values], np.float32)}
    return InferenceResult(outputs, np.zeros((1, 3)), 0.0, Verdict.CLEAN, 1.0)


def numbers(tolerance: float) -> Numbers:
    return Numbers((tolerance,), (1.0,), ((0.0,), (1.0,)))


def tags(threshold: float) -> Labels:
    return Labels(threshold, ((0.0, 0.0), (1.0, 1.0)))


@pytest.mark.parametrize(
    ("decisions", "one", "other", "agreed"),
    [
        ((numbers(0.5), numbers(0.5)), [1.0], [1.4], True),
        # A new version with a tolerance of its own for all that it says does not agree for that.
        ((numbers(0.5), numbers(1e9)), [1.0], [9.0], False),
        ((numbers(1e9), numbers(0.5)), [1.0], [9.0], False),
        ((tags(0.5), tags(0.5)), [0.9, 0.2], [0.6, 0.4], True),
        ((tags(0.5), tags(0.5)), [0.9, 0.2], [0.6, np.nan], False),
        ((tags(0.5), tags(0.0)), [0.9, 0.2], [0.9, -0.2], False),
        ((Classes(), Classes()), [3.0, 1.0], [9.0, 8.0], True),
        ((Classes(), Classes()), [3.0, 1.0], [3.0, 8.0], False),
    ],
)
def test_answers_agree_where_both_versions_take_them_for_the_same(
    decisions: tuple[Decision, Decision], one: list[float], other: list[float], agreed: bool
) -> None:
    configs = [SimpleNamespace(decision=each) for each in decisions]
    assert agree(configs, answer(*one), answer(*other)) is agreed  # type: ignore[arg-type]
