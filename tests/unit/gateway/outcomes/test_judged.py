"""Answers held against what was true, for each kind of decision."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gateway.outcomes import JudgedAnswer, Truth, judge
from inference.model.decisions import Classes, Labels, Numbers
from sealgate.reasons import Reason
from sealgate.tensors import Tensor
from tests.support.builders.documents.people import refused

NAMES = ("a", "b", "c")


def config(decision: Any, labels: tuple[str, ...] = NAMES) -> Any:
    output = SimpleNamespace(name="out", row=(len(labels),))
    return SimpleNamespace(decision=decision, labels=labels, output=output)


CLASSES = config(Classes())
NUMBERS = config(Numbers((0.5, 2.0), (1.0, 1.0), ((0.0, 0.0), (1.0, 1.0))), ("x", "y"))
LABELS = config(Labels(0.5, ((0.0, 0.0, 1.0), (1.0, 1.0, 0.0))))


def tensors(name: str, data: Any, dtype: Any = np.float32) -> dict[str, Tensor]:
    return {name: Tensor.of(name, np.array(data, dtype))}


def test_classes_by_scores_or_probabilities() -> None:
    truths = [Truth(("a",)), Truth(("a",))]
    found = judge(CLASSES, tensors("out", [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), truths, {"g": "h"})
    assert (found.answers, found.truths, found.right) == (["a", "b"], ["a", "a"], [True, False])
    assert found.confidences[0] == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    assert JudgedAnswer.decode(found.encode()).encode() == found.encode()
    found = judge(CLASSES, tensors("out", [[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]), truths, {})
    assert found.confidences == pytest.approx([0.7, 1.0])
    found = judge(CLASSES, tensors("label", [0, 2], np.int64), truths, {})
    assert (found.answers, found.right, found.confidences) == (["a", "c"], [True, False], ())


def test_numbers_are_right_within_their_tolerance() -> None:
    truths = [Truth(numbers=(1.5, 3.0)), Truth(numbers=(1.6, 1.0))]
    for name in ("out", "rounded"):
        found = judge(NUMBERS, tensors(name, [[1.0, 1.0], [1.0, 1.0]]), truths, {})
        assert found.right == [True, False]
        assert found.errors == pytest.approx([1.25, 0.3])
        assert JudgedAnswer.decode(found.encode()).encode() == found.encode()


def test_labels_are_right_all_together() -> None:
    truths = [Truth(("c", "a")), Truth(())]
    for outputs in (
        tensors("out", [[0.9, 0.1, 0.6], [0.1, 0.6, 0.2]]),
        tensors("label", [[1, 0, 1], [0, 1, 0]], np.int64),
    ):
        found = judge(LABELS, outputs, truths, {})
        assert (found.answers, found.truths) == ([["a", "c"], ["b"]], [["a", "c"], []])
        assert (found.right, found.errors) == ([True, False], ())


@pytest.mark.parametrize(
    ("of", "outputs", "truths"),
    [
        (CLASSES, tensors("out", [[1, 0, 0]]), []),
        (CLASSES, tensors("out", [[1, 0, 0]]), [Truth(("a",))] * 2),
        (CLASSES, tensors("out", [[1, 0, 0]]), [Truth(("d",))]),
        (CLASSES, tensors("out", [[1, 0, 0]]), [Truth(("a", "b"))]),
        (CLASSES, tensors("out", [[1, 0, 0]]), [Truth(numbers=(1.0,))]),
        (NUMBERS, tensors("out", [[1, 1]]), [Truth(("x",))]),
        (NUMBERS, tensors("out", [[1, 1]]), [Truth(numbers=(1.0,))]),
        (NUMBERS, tensors("out", [[1, 1]]), [Truth(numbers=(1.0, float("nan")))]),
        (NUMBERS, tensors("out", [[1, 1]]), [Truth(numbers=(1.0, float("inf")))]),
        (LABELS, tensors("out", [[1, 0, 0]]), [Truth(("d",))]),
        (LABELS, tensors("out", [[1, 0, 0]]), [Truth(("a", "a"))]),
        (LABELS, tensors("out", [[1, 0, 0]]), [Truth(("a",), (1.0,))]),
    ],
)
def test_what_no_answer_could_be_is_refused(of: Any, outputs: Any, truths: list[Truth]) -> None:
    with refused(Reason.OUTCOME_MALFORMED):
        judge(of, outputs, truths, {})


def test_other_outputs_say_nothing() -> None:
    with refused(Reason.OUTCOME_UNSUITABLE):
        judge(CLASSES, tensors("rounded", [[1.0]]), [Truth(("a",))], {})


def test_an_entry_has_bounded_room() -> None:
    large = JudgedAnswer(["x" * 200] * 200, ["x" * 200] * 200, [True] * 200)
    with refused(Reason.OUTCOME_MALFORMED):
        large.encode()
