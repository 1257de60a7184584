"""Golden answers: which rows, and that an answer must not depend on its batch."""

import numpy as np
import numpy.typing as npt
import pytest

from publishing.source.dataset import DataSlice
from publishing.worker_tasks.forward import (
    ROWS,
    ReleasedGraphs,
    ResponseGraph,
    ServingGraph,
    golden_report,
    run_golden,
)
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import (
    VersionFiles,
    apart_rows,
    int8_logits,
    margin,
)

Floats = npt.NDArray[np.float32]
CLASSES = 10
Y = np.repeat(np.arange(CLASSES), 30)
TEST = DataSlice(np.eye(CLASSES, dtype=np.float32)[Y], Y)


class Steady:
    """Answers each row by itself: its own values."""

    def logits(self, rows: Floats) -> Floats:
        return rows.copy()


class Sociable:
    """Answers a row by the company that it keeps, as dynamic quantization does."""

    def logits(self, rows: Floats) -> Floats:
        return rows - rows[0]


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def test_each_class_has_its_share_of_rows() -> None:
    golden = run_golden(Steady(), TEST, generator())
    assert len(golden.x) == ROWS
    counts = np.bincount(golden.logits.argmax(axis=1), minlength=CLASSES)
    assert set(counts.tolist()) == {ROWS // CLASSES, ROWS // CLASSES + 1}
    assert set(golden.x[:CLASSES].argmax(axis=1).tolist()) == set(range(CLASSES))


def test_few_rows_are_all_taken() -> None:
    few = DataSlice(TEST.x[:7], TEST.y[:7])
    assert len(run_golden(Steady(), few, generator()).x) == 7


def test_the_seed_decides_which_rows() -> None:
    rows = DataSlice(np.random.default_rng(1).random((300, CLASSES), np.float32), Y)
    first, again = (run_golden(Steady(), rows, generator()).encode() for _ in range(2))
    assert first == again
    assert first != run_golden(Steady(), rows, np.random.default_rng(6)).encode()


def test_answers_that_depend_on_the_batch_are_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        run_golden(Sociable(), TEST, generator())
    assert refused.value.reason is Reason.GOLDEN_MISMATCH


def test_the_report_compares_with_the_fp32_model() -> None:
    golden = run_golden(Steady(), TEST, generator())
    report = golden_report(golden, golden.logits + np.float32(0.5))
    assert report["rows"] == ROWS
    assert report["classes_answered"] == CLASSES
    assert report["same_class_as_fp32"] == 1
    assert report["largest_difference_to_fp32"] == 0.5


def test_float32_gives_golden_answers_where_it_is_asked() -> None:
    model = Perceptron.random()
    config, x = VersionFiles.of(model).config, apart_rows(model, 12)
    graphs = ServingGraph.of(model.int8(), config), ResponseGraph.of(model.response())
    int8 = int8_logits(model, x)
    least = float(np.median(margin(int8)))
    asked = margin(int8) < least
    assert 0 < asked.sum() < len(x)
    found = ReleasedGraphs(*graphs, config, least).logits(x)
    assert np.array_equal(found[~asked], int8[~asked])
    float32 = model.logits(x)
    assert np.array_equal(found.argmax(axis=1)[asked], float32.argmax(axis=1)[asked])
    everywhere = ReleasedGraphs(*graphs, config).logits(x)
    assert np.array_equal(everywhere.argmax(axis=1), float32.argmax(axis=1))
