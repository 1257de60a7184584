"""Convolutions take images and their pixels, and halve them by maxima or by strides."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.builders.models.demo_models import opened
from training.export.classifier import export_serving
from training.models.students import Convolution


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize("strides", [False, True])
def test_each_layer_halves_the_side(side: int, strides: bool) -> None:
    network = Convolution((3, side, side), 8, 2, 5, strides)
    assert network(torch.zeros(4, 3, side, side)).shape == (4, 5)


def test_strides_leave_no_maximum() -> None:
    network = Convolution((1, 8, 8), 8, 2, 5, strides=True)
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in network.body)


def test_pixels_are_answered_as_their_image() -> None:
    torch.manual_seed(0)
    of_images = Convolution((1, 8, 8), 8, 2, 5, strides=True).eval()
    torch.manual_seed(0)
    of_pixels = Convolution((64,), 8, 2, 5, strides=True).eval()
    x = torch.rand(6, 64)
    assert torch.equal(of_pixels(x), of_images(x.reshape(6, 1, 8, 8)))
    graph = export_serving(of_pixels.requires_grad_(False), (64,))
    found = opened(graph).run(None, {"x": x.numpy()})[0]
    np.testing.assert_allclose(found, of_pixels(x).numpy(), atol=1e-5)
