"""Fixed sizes of batches: rows are filled up, and what was filled up is cut off again.

With them answers are the same bit for bit in any company, and buffers may stay where they are.
"""

from typing import Any

import numpy as np
import onnxruntime
import pytest

from inference.batching.batch_sizing import BatchSizes, Work
from inference.engine import version_contents
from inference.engine.ready_version import ReadyVersion
from inference.model.golden import Golden
from inference.runtime.session import BoundRuns, Session
from inference.runtime.settings import CpuSettings, RunSettings, RuntimeSettings
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

# Wide enough for the processor's kernels to sum in several orders.
MODEL = Perceptron.random(inputs=96, hidden=80, classes=7)
DETERMINISTIC = RunSettings(RuntimeSettings(deterministic=True))


@pytest.mark.parametrize(
    ("most", "sizes"),
    [(1, (1,)), (12, (12,)), (16, (16,)), (64, (16, 32, 64)), (100, (16, 32, 64, 100))],
)
def test_the_sizes_of_a_batch(most: int, sizes: tuple[int, ...]) -> None:
    assert BatchSizes.upto(most).sizes == sizes


@pytest.mark.parametrize(
    ("rows", "spacing", "asked"),
    [
        (1, 1, [16]),
        (16, 1, [16]),
        (17, 1, [32]),
        (40, 1, [32, 16]),
        (5, 2, [16]),
        (9, 2, [32]),
        (40, 2, [32, 32, 16]),
    ],
)
def test_rows_are_filled_up_and_come_out_in_order(
    rows: int, spacing: int, asked: list[int]
) -> None:
    seen = []

    def work(x: np.ndarray) -> tuple[np.ndarray, ...]:
        seen.append(len(x))
        return x * 2, x[:, 0]

    x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    doubled, first = BatchSizes((16, 32), spacing).run(x, work)
    assert np.array_equal(doubled, x * 2)
    assert np.array_equal(first, x[:, 0])
    assert seen == asked


@pytest.mark.parametrize(
    ("spacing", "room", "asked"),
    [
        (1, 64, [64]),
        (1, 63, [32, 16]),
        (2, 32, [32, 32, 16]),
        (1, 16, [16, 16, 16]),
        (1, 15, [1] * 40),
        (2, 1, [1] * 40),
    ],
)
def test_no_more_are_run_at_once_than_there_is_room_for(
    spacing: int, room: int, asked: list[int]
) -> None:
    seen = []

    def work(x: np.ndarray) -> tuple[np.ndarray, ...]:
        seen.append(len(x))
        return (x,)

    x = np.arange(40, dtype=np.float32)[:, np.newaxis]
    assert np.array_equal(BatchSizes((16, 32, 64), spacing).run(x, work, room)[0], x)
    assert seen == asked


def kernel(period: int) -> Work:
    """Rounds in another way at every place of a tile, and for what is left behind the last."""

    def work(x: np.ndarray) -> tuple[np.ndarray, ...]:
        places = np.arange(len(x))
        left = places >= len(x) - len(x) % 4
        return ((x[:, 0] + (places % period) * 1e-6 + left * 1e-5).astype(np.float32),)

    return work


@pytest.mark.parametrize(
    ("period", "most", "expected"),
    [
        (1, 64, BatchSizes((16, 32, 64))),
        (2, 64, BatchSizes((16, 32, 64), spacing=2)),
        (4, 64, BatchSizes((16, 32, 64), spacing=4)),
        # No spacing helps: one by one.
        (3, 64, BatchSizes((1,))),
        (1, 18, BatchSizes((1,))),
        (1, 1, BatchSizes((1,))),
    ],
)
def test_places_that_are_treated_alike_are_found(
    period: int, most: int, expected: BatchSizes
) -> None:
    x = np.random.default_rng(1).random((9, 2), np.float32)
    work = kernel(period)
    found = BatchSizes.steady(most, x, work)
    assert found == expected
    whole = found.run(x, work)[0]
    for size in (1, 2, 4):
        parts = [found.run(x[at : at + size], work)[0] for at in range(0, len(x), size)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_no_sizes_change_nothing() -> None:
    x = np.ones((5, 2), np.float32)
    assert BatchSizes().run(x, lambda rows: (rows,))[0] is x


def test_answers_and_what_screening_measures_are_equal_bit_for_bit() -> None:
    """In any company, at any place in the batch, again and again."""
    files = VersionFiles.of(MODEL, max_rows=64).encode()
    ready = ReadyVersion.build("", files, CpuSettings(1), running=DETERMINISTIC)
    x = clean_rows(MODEL, 64, seed=11)
    whole = ready.submit(x)
    rng = np.random.default_rng(5)
    for _ in range(30):
        chosen = rng.permutation(64)[: rng.integers(1, 65)]
        found = ready.submit(x[chosen])
        assert np.array_equal(found.outputs["logits"], whole.outputs["logits"][chosen])
        assert np.array_equal(found.features, whole.features[chosen])


class Drifting:
    """A graph of another machine, whose rounding depends on how many rows there are."""

    place = "cpu"

    def __init__(self, session: Session, off: float) -> None:
        self._session = session
        self._off = np.float32(off)

    def run(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [each + self._off * (len(each) % 16) for each in self._session.run(feeds)]


@pytest.mark.parametrize(
    ("graph", "settings", "loads"),
    [
        (version_contents.INT8, RuntimeSettings(), False),
        (version_contents.INT8, RuntimeSettings(tolerance=1e-3), True),
        # One row at a time, whose answers are off by as much in all company.
        (version_contents.INT8, RuntimeSettings(tolerance=1e-3, deterministic=True), True),
        (version_contents.INT8, RuntimeSettings(deterministic=True), True),
        (version_contents.RESPONSE, RuntimeSettings(), True),
    ],
)
def test_how_far_answers_may_be_off_is_stated_and_checked(
    graph: str, settings: RuntimeSettings, loads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = version_contents.open_classifier, version_contents.open_response

    def classifier(data: bytes, *rest: Any) -> Any:
        session = opened[0](data, *rest)
        return Drifting(session, 1e-6) if data == files[graph] else session

    def response(data: bytes, *rest: Any, **named: Any) -> Any:
        whole, pruned = opened[1](data, *rest, **named)
        return whole, Drifting(pruned, 1e-6) if graph == version_contents.RESPONSE else pruned

    files = VersionFiles.of(MODEL).encode()
    monkeypatch.setattr(version_contents, "open_classifier", classifier)
    monkeypatch.setattr(version_contents, "open_response", response)

    def build() -> ReadyVersion:
        return ReadyVersion.build("", files, CpuSettings(1), running=RunSettings(settings))

    if loads:
        build()
    else:
        with refused(Reason.GOLDEN_MISMATCH):
            build()


def test_screening_that_changes_with_its_company_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = VersionFiles.of(MODEL).encode()
    opened = version_contents.open_response

    def response(*given: Any, **named: Any) -> Any:
        whole, pruned = opened(*given, **named)
        return whole, Drifting(
            pruned, 5e-3 if given[0] == files[version_contents.RESPONSE] else 0.0
        )

    # Golden inputs in batches of 16 show nothing: they are what the graphs are compared by.
    files[version_contents.GOLDEN] = _first(files[version_contents.GOLDEN], 16)
    monkeypatch.setattr(version_contents, "open_response", response)
    with refused(Reason.GOLDEN_MISMATCH):
        ReadyVersion.build("", files, CpuSettings(1))


def _first(golden: bytes, rows: int) -> bytes:
    made = VersionFiles.of(MODEL).golden
    assert golden == made.encode()
    return Golden(made.x[:rows], made.logits[:rows]).encode()


def test_buffers_stay_where_they_are() -> None:
    session = onnxruntime.InferenceSession(MODEL.serving(), providers=["CPUExecutionProvider"])
    bound = BoundRuns(session, "cpu")
    for rows in (4, 8, 4, 8):
        x = clean_rows(MODEL, rows, seed=rows)
        options = onnxruntime.RunOptions()
        (first,) = bound.run(("logits",), {"x": x}, options)
        kept = first.copy()
        assert np.allclose(first, MODEL.logits(x), atol=1e-5)
        bound.run(("logits",), {"x": x + 1}, onnxruntime.RunOptions())
        # The next run does not overwrite an answer.
        assert np.array_equal(first, kept)
    assert len(bound.buffers) == 2
