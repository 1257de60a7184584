"""A version of two stages: what runs, what is answered, and what is refused when it loads."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.engine import version_contents
from inference.engine.batch_run import ServingTarget
from inference.engine.ready_version import ReadyVersion
from inference.runtime.settings import CpuSettings
from inference.screening.scoring import FeatureScaling, ScoreTail, ScoringWeights
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import Perceptron, constant_model
from tests.support.builders.models.two_stages import two_stage_files
from tests.support.builders.models.version_files import (
    VersionFiles,
    clean_rows,
    int8_logits,
    margin,
)

CPU = CpuSettings(cores=1)
MODEL = Perceptron.random()
X = clean_rows(MODEL, 40, seed=8)
MARGINS = margin(int8_logits(MODEL, X))
# Half of the rows pass.
CUT = -float(np.median(MARGINS))
FILES, DETECTOR = two_stage_files(MODEL, CUT)


class Counting:
    """A session that notes how many rows it is asked."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.asked: list[int] = []

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.asked.append(len(feeds["x"]))
        found: list[np.ndarray] = self.session.run(feeds)
        return found


def build(files: Mapping[str, bytes] = FILES, **more: Any) -> ReadyVersion:
    return ReadyVersion.build("sha256:" + "0" * 64, files, CPU, **more)


def counted() -> tuple[ReadyVersion, Counting, Counting]:
    """A version, and what its two graphs are asked."""
    ready = build()
    served, response = Counting(ready.served), Counting(ready.response)
    ready.served, ready.response = served, response  # type: ignore[assignment]
    return ready, served, response


def test_the_graph_runs_for_those_rows_alone_that_go_on() -> None:
    ready, served, response = counted()
    answer = ready.submit(X[:16])
    going = int(np.count_nonzero(MARGINS[:16] < -CUT))
    assert 0 < going < 16
    assert (served.asked, response.asked) == ([16], [going])
    assert answer.graph_rows == going
    assert np.isnan(answer.features[:, -1]).sum() == 16 - going


def test_a_row_that_passes_costs_no_more_than_its_answer() -> None:
    ready, served, response = counted()
    surest = int(MARGINS.argmax())
    answer = ready.submit(X[surest : surest + 1])
    assert (served.asked, response.asked) == ([1], [])
    assert (answer.graph_rows, answer.verdict.value) == (0, "clean")
    assert answer.score < 0


def test_answers_are_the_same_as_without_a_first_stage() -> None:
    plain = build(VersionFiles.of(MODEL).encode())
    for start in range(0, len(X), 8):
        part = X[start : start + 8]
        both = [each.submit(part).outputs["logits"] for each in (build(), plain)]
        assert np.array_equal(*both)


def test_company_changes_no_score() -> None:
    ready = build()
    together = ready.submit(X[:16])
    alone = [ready.submit(X[at : at + 1]) for at in range(16)]
    assert together.score == max(each.score for each in alone)
    assert together.graph_rows == sum(each.graph_rows for each in alone)


def test_each_request_of_a_batch_is_told_of_its_own_rows() -> None:
    ready = build()
    parts = ready.answer([X[:3], X[3:4], X[4:16]])
    escalates = MARGINS < -CUT
    assert [part.graph_rows for part in parts] == [
        int(escalates[at].sum()) for at in (slice(0, 3), slice(3, 4), slice(4, 16))
    ]


def test_where_another_server_answers_the_first_stage_runs_here() -> None:
    """The int8 graph is then run for what enters its last layer, and does not answer."""

    class Elsewhere:
        def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            return [int8_logits(MODEL, feeds["x"])]

    ready = build(serving=ServingTarget(Elsewhere(), 1, "elsewhere"))
    here = build()
    for at in range(4):
        row = X[at : at + 1]
        found, expected = ready.submit(row), here.submit(row)
        assert (found.score, found.graph_rows) == (expected.score, expected.graph_rows)


@pytest.mark.parametrize("size", [8, 17])
def test_a_stage_of_another_last_layer_is_refused(size: int) -> None:
    files, _ = two_stage_files(MODEL, CUT, size)
    with pytest.raises(SealgateError) as refused:
        build(files)
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_the_features_of_both_stages_are_counted() -> None:
    weights = ScoringWeights(0.0, (1.0,) * 3, (0.0,) * 6, ScoreTail(0.0, 1.0))
    scaling = FeatureScaling((0.0,) * 3, (1.0,) * 3, 6.0)
    narrow = replace(DETECTOR, scaling=scaling, clean=weights, trained=weights)
    with pytest.raises(SealgateError) as refused:
        build({**FILES, version_contents.DETECTOR: narrow.encode()})
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_a_graph_that_ends_in_no_layer_takes_no_first_stage() -> None:
    with pytest.raises(SealgateError) as refused:
        build({**FILES, version_contents.FP32: constant_model()})
    assert refused.value.reason is Reason.GRAPH_MISMATCH
