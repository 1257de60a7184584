"""Changes of images that a detector is shown as harmless."""

import numpy as np
import pytest
from scipy.ndimage import rotate, shift

from inference.model.config import InputDomain
from publishing.attacks.image_changes import (
    CHANGES,
    CONTRASTS,
    RETAKEN,
    camera_changes,
    moved_images,
    retaken_images,
)
from publishing.attacks.probe import BEYOND, Probe
from publishing.worker_tasks.forward import ResponseGraph
from tests.support.builders.models.onnx_models import Perceptron

IMAGES = np.random.default_rng(5).random((3, 8, 6))


@pytest.mark.parametrize(("down", "right"), [(0.5, 0), (0, -0.5), (1.25, 2)])
def test_a_move_is_scipy_s(down: float, right: float) -> None:
    expected = shift(IMAGES, (0, down, right), order=1, mode="grid-constant")
    assert np.allclose(moved_images(IMAGES, 0, down, right), expected)


def test_a_turn_is_scipy_s_within_the_image() -> None:
    expected = rotate(IMAGES, -6, axes=(1, 2), reshape=False, order=1)
    assert np.allclose(moved_images(IMAGES, 6, 0, 0)[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1])


def test_what_comes_from_beyond_is_background() -> None:
    rows = np.full((2, 16), 0.5)
    found = dict(camera_changes(rows, (4, 4), -1, 1))
    assert {*found, *RETAKEN} == set(CHANGES)
    assert np.allclose(found["down"].reshape(2, 4, 4)[:, 0], -0.25)
    assert np.allclose(found["flatter"], 0.4)


def test_a_row_may_hold_several_images() -> None:
    rows = np.random.default_rng(6).random((2, 3, 4, 4))
    up = dict(camera_changes(rows, (4, 4), 0, 1))["up"]
    assert np.allclose(up[1, 2], moved_images(rows[1, 2:], 0, -0.5, 0)[0])


def _retaken(rows: np.ndarray, image: tuple[int, int], seed: int = 0) -> dict[str, np.ndarray]:
    return dict(retaken_images(rows, image, -1, 1, np.random.default_rng(seed)))


def test_images_are_retaken_each_in_its_own_way_within_the_domain() -> None:
    rows = np.tile(np.random.default_rng(8).uniform(-1, 1, (1, 36)).astype(np.float32), (3, 1))
    found = _retaken(rows, (6, 6))
    assert tuple(found) == RETAKEN
    for each in found.values():
        assert each.shape == rows.shape
        assert each.dtype == np.float32
        assert np.abs(each).max() <= 1
    ways = np.concatenate(list(found.values()))
    assert len(np.unique(ways, axis=0)) == 3 * len(RETAKEN)


def test_the_same_draws_retake_images_alike() -> None:
    rows = np.random.default_rng(9).uniform(-1, 1, (2, 16))
    first, again, other = (_retaken(rows, (4, 4), seed) for seed in (1, 1, 2))
    assert np.array_equal(first["retaken-1"], again["retaken-1"])
    assert not np.array_equal(first["retaken-1"], other["retaken-1"])


def test_channels_of_a_row_are_retaken_from_the_same_place() -> None:
    rows = np.full((1, 2, 16, 16), -1.0)
    rows[:, :, 4:12, 4:12] = 1
    for each in _retaken(rows, (16, 16)).values():
        ink = each[0] - each[0].mean(axis=(1, 2), keepdims=True)
        # But for the noise, which each place has by itself.
        assert np.corrcoef(ink[0].ravel(), ink[1].ravel())[0, 1] > 0.9


def test_a_probe_changes_images_and_bounds_no_contrast() -> None:
    model = Perceptron.random(seed=11)
    rows = np.random.default_rng(7).random((4, model.inputs), np.float32)
    graph = ResponseGraph.of(model.response())
    plain = Probe(graph, 0.05, InputDomain(0.0, 1.0))
    images = Probe(graph, 0.05, InputDomain(0.0, 1.0), image=(1, model.inputs))
    names = [
        [name for name, _ in each.shifts(rows, np.random.default_rng(0))]
        for each in (plain, images)
    ]
    assert names[1] == [*names[0], *CHANGES]
    assert set(CONTRASTS) < set(BEYOND)
    assert not set(RETAKEN) & set(BEYOND)
