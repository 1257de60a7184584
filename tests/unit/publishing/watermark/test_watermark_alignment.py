"""Neurons that have moved, been scaled or dropped: blind nothing, aligned the mark."""

from collections.abc import Callable

import numpy as np
import pytest

from publishing.watermark.aligned_detection import aligned_to, could_hold, without_mark
from publishing.watermark.alignment import align
from publishing.watermark.detection import MarkDetection, detection_of, read_code
from tests.support.builders.marked import Floats, marked, network, weights

MARKED, RECORD = marked(network())
COPY = list(MARKED.values())


def moved(seed: int, drop: float = 0.0, scale: float = 1.0) -> Callable[[Floats], Floats]:
    """Rows and columns in another order and scale, a share of both gone."""
    rng = np.random.default_rng(seed)

    def change(values: Floats) -> Floats:
        rows, columns = (
            rng.permutation(size)[: round(size * (1 - drop))] for size in values.shape[:2]
        )
        rest = [1] * (values.ndim - 2)
        out = np.exp(scale * rng.standard_normal(len(rows))).reshape(-1, 1, *rest)
        into = np.exp(scale * rng.standard_normal(len(columns))).reshape(1, -1, *rest)
        return (values[np.ix_(rows, columns)] * out * into).astype(np.float32)

    return change


def aligned(found: dict[str, Floats]) -> MarkDetection:
    return detection_of(aligned_to(weights(found), RECORD.code, COPY), RECORD.code, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_neurons_in_another_order_and_scale(seed: int) -> None:
    change = moved(seed)
    found = {name: change(value) for name, value in MARKED.items()}
    assert read_code(weights(found), RECORD.code, RECORD.slots).z < 6
    second = aligned(found)
    assert second.z > 40
    assert second.bit_errors == 0


def test_neurons_that_are_gone() -> None:
    change = moved(1, drop=0.2)
    second = aligned({name: change(value) for name, value in MARKED.items()})
    assert second.z > 18


def test_names_order_and_layout_may_be_gone_too() -> None:
    change = moved(2)
    found = {
        f"t{n}": change(value).T if value.ndim == 2 else change(value)
        for n, value in enumerate(reversed(MARKED.values()))
    }
    assert aligned(found).z > 40


def test_one_weight_more_than_we_marked() -> None:
    change = moved(3)
    found = {name: change(value) for name, value in MARKED.items()}
    extra = np.random.default_rng(0).standard_normal((192, 256)).astype(np.float32)
    assert aligned({"extra": extra, **found}).z > 40


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_alignment_lends_no_mark_to_another_network(seed: int) -> None:
    assert aligned(network(seed)).z < 6


def test_the_copy_is_used_without_its_mark() -> None:
    bare = without_mark(COPY, RECORD.code)
    plain = weights(dict(zip(MARKED, bare, strict=True)))
    assert abs(read_code(plain, RECORD.code, RECORD.slots).z) < 1


def test_rounding_does_not_keep_neurons_apart() -> None:
    values = MARKED["second"]
    rng = np.random.default_rng(1)
    changed = values[rng.permutation(192)][:, rng.permutation(256)]
    scale = np.abs(changed).max(axis=1, keepdims=True) / 127
    assert align(np.rint(changed / scale) * scale, values).kinship > 0.99


def test_only_files_of_fitting_shapes_are_aligned() -> None:
    slots = [slot.shape for slot in RECORD.slots]
    assert could_hold(weights(MARKED), slots)
    assert could_hold(weights({"all": np.ones((700, 200), np.float32)}), slots)
    assert not could_hold(weights({"last": MARKED["last"]}), slots)
    assert not could_hold(weights({"huge": np.ones((4000, 3000), np.float32)}), slots)
