"""A residual stream that was rotated, in a network whose rows have lost their places too."""

import numpy as np
import pytest

from publishing.watermark.aligned_detection import aligned_to
from publishing.watermark.detection import detection_of
from publishing.watermark.rotation import rotation_by_angles, rotation_of
from tests.support.builders.marked import Floats, marked, weights

WIDTH, INNER = 96, 384
Weights = dict[str, Floats]


def blocks(seed: int = 0) -> Weights:
    """Two layers of a transformer without its embedding; no two neurons are of one size."""
    rng = np.random.default_rng(seed)
    found = {}
    for layer in range(2):
        for name, shape in (("mixed", (WIDTH, WIDTH)), ("inner", (INNER, WIDTH))):
            sizes = np.exp(0.3 * rng.standard_normal((shape[0], 1)))
            found[f"{layer}.{name}"] = 0.05 * sizes * rng.standard_normal(shape)
        found[f"{layer}.outer"] = 0.05 * rng.standard_normal((WIDTH, INNER))
    return {name: values.astype(np.float32) for name, values in found.items()}


MARKED, RECORD = marked(blocks())
COPY = list(MARKED.values())


def turned(found: Weights, seed: int, into: int = WIDTH) -> Weights:
    """Rotated behind norms whose gains are folded, and every neuron in another place."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((into, WIDTH)))[0]
    changed = {}
    for layer in range(2):
        gain = np.exp(0.1 * rng.standard_normal(WIDTH))
        order = rng.permutation(INNER)
        changed[f"{layer}.mixed"] = turn @ found[f"{layer}.mixed"]
        changed[f"{layer}.inner"] = (found[f"{layer}.inner"] * gain)[order] @ turn.T
        changed[f"{layer}.outer"] = turn @ found[f"{layer}.outer"][:, order]
    return {name: values.astype(np.float32) for name, values in changed.items()}


def z(found: Weights) -> float:
    return detection_of(aligned_to(weights(found), RECORD.code, COPY), RECORD.code, 0.0).z


@pytest.mark.parametrize("into", [WIDTH, WIDTH + 16])
def test_neurons_in_another_order_of_a_turned_stream(into: int) -> None:
    assert z(turned(MARKED, 1, into)) > 45


def test_a_much_wider_matrix_of_another_layer_shows_no_rotation() -> None:
    """The head of ten classes, beside a layer that lost a quarter of its neurons."""
    rng = np.random.default_rng(5)
    ours, other = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((10, 256), (192, 768))
    )
    assert rotation_by_angles([other], [ours]) is None


def test_clones_and_silent_neurons_beside_a_rotation() -> None:
    rng = np.random.default_rng(2)
    found = dict(MARKED)
    for layer in range(2):
        inner, outer = found[f"{layer}.inner"], found[f"{layer}.outer"]
        part = 0.05 * rng.standard_normal((WIDTH, 40))
        noise = rng.standard_normal((60, WIDTH)) * inner.std()
        rest = outer.copy()
        rest[:, :40] -= part
        found[f"{layer}.inner"] = np.concatenate([inner, inner[:40], noise])
        found[f"{layer}.outer"] = np.concatenate([rest, part, np.zeros((WIDTH, 60))], axis=1)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    order = rng.permutation(INNER + 100)
    for layer in range(2):
        found[f"{layer}.mixed"] = turn @ found[f"{layer}.mixed"]
        found[f"{layer}.inner"] = found[f"{layer}.inner"][order] @ turn.T
        found[f"{layer}.outer"] = turn @ found[f"{layer}.outer"][:, order]
    assert z({name: values.astype(np.float32) for name, values in found.items()}) > 45


def test_a_rotated_copy_rounded_to_eight_bits() -> None:
    found = turned(MARKED, 3)
    for name, values in found.items():
        step = np.abs(values).max(axis=1, keepdims=True) / 127
        found[name] = (np.rint(values / step) * step).astype(np.float32)
    assert z(found) > 40


def test_what_was_not_turned_stays() -> None:
    rows = np.random.default_rng(4).permutation(INNER)
    assert rotation_by_angles([MARKED["0.inner"][rows]], COPY) is None
    assert rotation_of(COPY, COPY) is None


def test_another_network_shows_no_rotation_and_reads_nothing() -> None:
    other = turned(blocks(5), 6)
    assert rotation_by_angles(list(other.values()), COPY) is None
    assert z(other) < 6


def test_matrices_with_fewer_rows_than_are_needed_show_nothing() -> None:
    few = MARKED["0.inner"][:40]
    assert rotation_by_angles([few], COPY) is None
