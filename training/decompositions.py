"""How backward operators are written in operators that ONNX has.

PyTorch's own decompositions cover most; the two rules here cover what they leave. Only gradients to
inputs are needed, as parameters are frozen when a model is screened.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import core_aten_decompositions, get_decompositions

aten = torch.ops.aten

_BACKWARD = (
    "native_layer_norm_backward",
    "gelu_backward",
    "silu_backward",
    "tanh_backward",
    "sigmoid_backward",
    "softplus_backward",
    "_softmax_backward_data",
    "_log_softmax_backward_data",
    "threshold_backward",
    "nll_loss_forward",
    "nll_loss_backward",
    "select_backward",
    "slice_backward",
    "native_dropout_backward",
    "_log_softmax",
    "_softmax",
)


def table() -> dict[Any, Callable[..., Any]]:
    """Return the decompositions to trace a response graph with."""
    found: dict[Any, Callable[..., Any]] = dict(core_aten_decompositions())
    found.update(get_decompositions([getattr(aten, name) for name in _BACKWARD]))
    # ONNX has this one whole; in parts it would be slower.
    found.pop(aten.native_layer_norm.default, None)
    found[aten.convolution_backward.default] = _convolution_backward
    found[aten.max_pool2d_with_indices_backward.default] = _max_pool_backward
    return found


def _convolution_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    wanted: list[bool],
) -> tuple[torch.Tensor, None, None]:
    """The gradient of a convolution to its input is the transposed convolution."""
    if transposed or wanted[1] or wanted[2]:
        raise NotImplementedError("only a plain convolution's gradient to its input is exported")
    missing = [
        x.shape[i + 2]
        - ((grad.shape[i + 2] - 1) * stride[i] - 2 * padding[i])
        - (dilation[i] * (weight.shape[i + 2] - 1) + 1)
        for i in range(len(stride))
    ]
    back = aten.convolution.default(
        grad, weight, None, stride, padding, dilation, True, missing, groups
    )
    return back, None, None


def _max_pool_backward(
    grad: torch.Tensor,
    x: torch.Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
    indices: torch.Tensor,
) -> torch.Tensor:
    """Each gradient goes back to the place that its maximum came from."""
    places = torch.zeros_like(x).flatten(2)
    return places.scatter_add(2, indices.flatten(2), grad.flatten(2)).view_as(x)
