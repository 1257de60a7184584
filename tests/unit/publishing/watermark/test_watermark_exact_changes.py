"""Changes that keep a network's function, and cost a thief nothing: the mark outlives them."""

import itertools

import numpy as np
import pytest

from publishing.watermark.aligned_detection import aligned_to
from publishing.watermark.detection import detection_of
from tests.support.builders.marked import Floats, marked, network, weights

MARKED, RECORD = marked(network())
COPY = list(MARKED.values())
# first makes the neurons that second reads, and so on.
CHAIN = ("first", "second", "third", "last")
Weights = dict[str, Floats]


def z(found: Weights, tables: list[Floats] | None = None) -> float:
    paired = aligned_to(weights(found), RECORD.code, COPY, tables or [])
    return detection_of(paired, RECORD.code, 0.0).z


def shuffled(found: Weights, rng: np.random.Generator) -> Weights:
    """The neurons of the chain in another order and scale."""
    found = dict(found)
    for maker, reader in itertools.pairwise(CHAIN):
        order = rng.permutation(len(found[maker]))
        scale = np.exp(0.5 * rng.standard_normal(len(order))).astype(np.float32)
        found[maker] = found[maker][order] * scale[:, None]
        found[reader] = found[reader][:, order] / scale
    return found


def with_added(found: Weights, rng: np.random.Generator, count: int) -> Weights:
    """Neurons that the next layer never hears, as strong as the others."""
    found = dict(found)
    for maker, reader in itertools.pairwise(CHAIN):
        rows, columns = found[maker], found[reader]
        new = rng.standard_normal((count, rows.shape[1])) * rows.std()
        found[maker] = np.concatenate([rows, new]).astype(np.float32)
        silent = np.zeros((len(columns), count))
        found[reader] = np.concatenate([columns, silent], axis=1).astype(np.float32)
    return found


def with_clones(found: Weights, rng: np.random.Generator, share: float) -> Weights:
    """Neurons stored twice, at random lengths; what is made of one is divided at random."""
    found = dict(found)
    for maker, reader in itertools.pairwise(CHAIN):
        rows, columns = found[maker], found[reader]
        chosen = rng.permutation(len(rows))[: int(share * len(rows))]
        length = np.exp(rng.standard_normal(len(chosen)))
        part = rng.standard_normal((len(columns), len(chosen))) * columns.std()
        rest = columns.copy()
        rest[:, chosen] -= part
        found[maker] = np.concatenate([rows, rows[chosen] * length[:, None]]).astype(np.float32)
        found[reader] = np.concatenate([rest, part / length], axis=1).astype(np.float32)
    return found


@pytest.mark.parametrize("count", [1, 100])
def test_neurons_that_do_nothing(count: int) -> None:
    assert z(with_added(MARKED, np.random.default_rng(1), count)) > 45


def test_neurons_that_do_nothing_among_others_in_another_order() -> None:
    rng = np.random.default_rng(2)
    assert z(shuffled(with_added(MARKED, rng, 40), rng)) > 45


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_neurons_stored_twice(share: float) -> None:
    rng = np.random.default_rng(3)
    assert z(shuffled(with_clones(MARKED, rng, share), rng)) > 45


def test_clones_rounded_to_eight_bits() -> None:
    found = with_clones(MARKED, np.random.default_rng(4), 0.5)
    for name, values in found.items():
        step = np.abs(values).max(axis=1, keepdims=True) / 127
        found[name] = (np.rint(values / step) * step).astype(np.float32)
    assert z(found) > 40


def test_matrices_stored_as_one() -> None:
    both = np.concatenate([MARKED["first"], MARKED["third"]])
    rest = {name: MARKED[name] for name in ("conv", "second", "last")}
    assert z({"both": both, **rest}) > 45


def turn(size: int, into: int, rng: np.random.Generator) -> Floats:
    q, _ = np.linalg.qr(rng.standard_normal((into, size)))
    return q.astype(np.float32)


@pytest.mark.slow
def test_a_turned_and_widened_residual_stream() -> None:
    # Rows of the table are read by first and third, and written by second.
    rng = np.random.default_rng(5)
    table = rng.standard_normal((600, 192)).astype(np.float32)
    q = turn(192, 224, rng)
    scale = np.exp(0.2 * rng.standard_normal(192)).astype(np.float32)
    found = {
        "table": table @ q.T,
        "conv": MARKED["conv"],
        "first": MARKED["first"] * scale @ q.T,
        "second": q @ MARKED["second"],
        "third": MARKED["third"] * scale @ q.T,
        "last": MARKED["last"],
    }
    assert z(found) < 25
    assert z(found, [table]) > 45


def test_a_table_of_another_model_turns_nothing() -> None:
    rng = np.random.default_rng(6)
    table, other = (rng.standard_normal((600, 192)).astype(np.float32) for _ in range(2))
    assert z({"table": other, **MARKED}, [table]) > 45


def test_neurons_in_another_order_of_which_half_of_the_weights_are_gone() -> None:
    found = shuffled(MARKED, np.random.default_rng(7))
    for name, values in found.items():
        found[name] = np.where(np.abs(values) < np.median(np.abs(values)), 0, values)
    assert z(found) > 40


def test_a_convolution_with_channels_that_nothing_hears() -> None:
    rng = np.random.default_rng(8)
    rows, columns = rng.permutation(96), rng.permutation(48)
    wide = np.zeros((96, 48, 3, 3), np.float32)
    wide[:64, :32] = MARKED["conv"]
    wide[64:, :32] = rng.standard_normal((32, 32, 3, 3)) * MARKED["conv"].std()
    assert z({**MARKED, "conv": wide[rows][:, columns]}) > 45
