"""Rows of small margin, about which float32 is asked by itself."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from inference.engine import version_contents
from inference.engine.comparison import MarginComparison
from inference.engine.graphs import open_reference
from inference.engine.ready_version import ReadyVersion
from inference.model.decisions import Numbers
from inference.model.inputs import form_of
from inference.runtime.session import Session
from inference.runtime.settings import RunSettings, RuntimeSettings
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.models.compared_version import (
    APART,
    FILES,
    MODEL,
    SURE,
    asked_below,
    build,
)
from tests.support.builders.models.two_stages import two_stage_files
from tests.support.builders.models.version_files import compared, int8_logits, margin


@pytest.fixture(scope="module")
def by_float32() -> ReadyVersion:
    return build(compared(FILES.detector, FLOAT32))


class Counting:
    """The float32 forward; `rows` says how many rows each run of it had."""

    def __init__(self, forward: Session, rows: list[int]) -> None:
        self._forward, self._rows = forward, rows

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self._rows.append(len(feeds["x"]))
        return self._forward.run(feeds)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    found: list[int] = []
    opened = version_contents.open_reference
    monkeypatch.setattr(
        version_contents, "open_reference", lambda *given: Counting(opened(*given), found)
    )
    return found


@pytest.mark.parametrize("deterministic", [False, True])
def test_float32_is_asked_about_rows_of_small_margin(
    by_float32: ReadyVersion, runs: list[int], deterministic: bool
) -> None:
    x = np.concatenate([SURE[:4], APART[:4]])
    margins = margin(int8_logits(MODEL, x))
    assert margins[:4].min() > margins[4:].max()
    running = RunSettings(RuntimeSettings(deterministic=deterministic))
    ready = build(asked_below(FILES.detector, float(margins[4:].max()) * 1.01), running=running)
    runs.clear()
    answer = ready.submit(x)
    assert np.array_equal(answer.features[:, -1], [0] * 4 + [1] * 4)
    assert answer.float32_rows == 4
    expected = by_float32.submit(x)
    assert np.allclose(answer.outputs["logits"], expected.outputs["logits"], atol=1e-5)
    assert np.allclose(answer.features, expected.features, atol=1e-4)
    # Batches keep their size, and are filled up with rows like the last. The logits that they are
    # compared with leave: no row runs again.
    assert runs == [ready.config.batching.max_rows if deterministic else 4]


def test_a_rows_float32_answer_is_the_same_in_any_batch() -> None:
    most = float(margin(int8_logits(MODEL, APART)).max()) * 1.01
    ready = build(asked_below(FILES.detector, most))
    x = np.concatenate([APART[:8], SURE[:8]])
    together = ready.submit(x)
    assert together.float32_rows == 8
    alone = [ready.submit(x[at : at + 1]).outputs["logits"] for at in range(len(x))]
    assert np.array_equal(together.outputs["logits"], np.concatenate(alone))


def test_where_float32_sums_depend_on_the_batch_a_row_runs_alone(by_float32: ReadyVersion) -> None:
    runs: list[int] = []
    graph = FILES.encode()[version_contents.RESPONSE]
    reference = Counting(open_reference(graph, FILES.config, 1), runs)
    x, form = np.concatenate([SURE[:4], APART[:4]]), form_of(FILES.config)
    logits = int8_logits(MODEL, x)
    comparison = MarginComparison(reference, np.inf)
    column, answered = comparison.run(x, logits, form)
    assert runs == [8, 1, 1, 1, 1]
    assert np.array_equal(column[:, 0], [0] * 4 + [1] * 4)
    assert np.array_equal(answered[:4], logits[:4])
    assert np.allclose(answered, by_float32.submit(x).outputs["logits"], atol=1e-5)


class Unsteady(Counting):
    """The float32 forward with other sums for a row alone."""

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        (logits,) = super().run(feeds)
        return [logits if len(logits) == 1 else logits * np.float32(1 + 1e-6)]


def test_whether_sums_depend_on_the_batch_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    opened = version_contents.open_reference
    monkeypatch.setattr(
        version_contents, "open_reference", lambda *given: Unsteady(opened(*given), runs)
    )
    most = float(margin(int8_logits(MODEL, APART)).max()) * 1.01
    ready = build(asked_below(FILES.detector, most))
    runs.clear()
    together = ready.submit(APART[:8])
    assert runs == [8, *[1] * 8]
    alone = [ready.submit(APART[at : at + 1]).outputs["logits"] for at in range(8)]
    assert np.array_equal(together.outputs["logits"], np.concatenate(alone))


def test_int8_answers_where_its_margin_is_large_enough(runs: list[int]) -> None:
    margins = margin(int8_logits(MODEL, APART))
    large = margins > np.median(margins)
    assert large.any()
    ready = build(asked_below(FILES.detector, float(margins[large].min())))
    runs.clear()
    answer = ready.submit(APART)
    assert answer.float32_rows == runs[0] == (~large).sum()
    assert np.array_equal(answer.features[:, -1] == 0, large)
    left = answer.outputs["logits"][large]
    assert np.array_equal(left, int8_logits(MODEL, APART)[large])


def test_rows_that_the_first_stage_lets_pass_are_asked_about(runs: list[int]) -> None:
    files, staged = two_stage_files(MODEL, -0.01)
    most = float(margin(int8_logits(MODEL, APART)).max()) * 1.01
    x = np.concatenate([SURE[:4], APART])
    answer = build(asked_below(staged, most), files).submit(x)
    assert answer.graph_rows < len(APART)
    assert answer.float32_rows == len(APART)
    assert np.array_equal(answer.outputs["logits"].argmax(axis=1), MODEL.logits(x).argmax(axis=1))


def test_a_margin_of_numbers_is_refused() -> None:
    one = (1.0,) * MODEL.classes
    numbers = replace(FILES.config, decision=Numbers(one, one, ((0.0,) * MODEL.classes, one)))
    files = FILES.encode(model_json=numbers.encode())
    build(compared(FILES.detector, FLOAT32), files)
    with pytest.raises(SealgateError) as refused:
        build(asked_below(FILES.detector, 1.0), files)
    assert refused.value.reason is Reason.GRAPH_MISMATCH
    assert "margin" in refused.value.detail
