"""Gradients of convolutions, pooling and resizing."""

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from inference.runtime.session import Session
from publishing.differentiate.graphs import Emitter, Gradients, MeasuredNode, Rule, only
from publishing.differentiate.layout import along
from publishing.differentiate.transposed_convolution import Axis, turned

_IR, _OPSET = 10, 20
_WHOLE = 1e-4


class Window:
    """The window of a convolution or a pooling, with padding as numbers."""

    def __init__(self, node: MeasuredNode, kernel: Sequence[int]) -> None:
        count = len(kernel)
        self.kernel = list(kernel)
        self.strides = list(node.attribute("strides", [1] * count))
        self.dilations = list(node.attribute("dilations", [1] * count))
        self.sizes = [node.input(0).fixed(at + 2) for at in range(count)]
        self.results = [node.output().fixed(at + 2) for at in range(count)]
        self.pads = self._pads(node)

    def _pads(self, node: MeasuredNode) -> list[int]:
        how, count = node.attribute("auto_pad", "NOTSET"), len(self.kernel)
        if how == "NOTSET":
            return list(node.attribute("pads", [0] * 2 * count))
        if how == "VALID":
            return [0] * 2 * count
        before, after = [], []
        for at in range(count):
            reach = (self.results[at] - 1) * self.strides[at] + self._extent(at)
            total = max(reach - self.sizes[at], 0)
            small, large = total // 2, total - total // 2
            before.append(small if how == "SAME_UPPER" else large)
            after.append(large if how == "SAME_UPPER" else small)
        return before + after

    def _extent(self, at: int) -> int:
        return self.dilations[at] * (self.kernel[at] - 1) + 1

    def axes(self) -> list[Axis]:
        """Each axis by itself."""
        return [
            Axis(*each)
            for each in zip(
                self.kernel,
                self.strides,
                self.dilations,
                self.pads,
                self.sizes,
                self.results,
                # There are two pads an axis.
                strict=False,
            )
        ]

    def ends(self) -> list[int]:
        """By axis, how many places the last window reaches beyond the input; negative where it
        falls short of its end.
        """
        return [
            (self.results[at] - 1) * self.strides[at]
            + self._extent(at)
            - self.pads[at]
            - self.sizes[at]
            for at in range(len(self.kernel))
        ]


def _turned(
    e: Emitter, window: Window, g: str, weight: str, channels: tuple[int, int], groups: int
) -> str:
    """The transposed convolution of `g`, cut or filled up to the input's size; `channels` are those
    of the weight.
    """
    axes = window.axes()
    if all(axis.by_conv for axis in axes):
        return turned(e, axes, g, weight, channels, groups)
    ends, count = window.ends(), len(window.kernel)
    found = e.op(
        "ConvTranspose",
        g,
        weight,
        strides=window.strides,
        dilations=window.dilations,
        pads=[*window.pads[:count], *(max(over, 0) for over in ends)],
        group=groups,
    )
    if min(ends) >= 0:
        return found
    unread = [max(-over, 0) for over in ends]
    return e.op("Pad", found, e.integers(*[0] * (count + 4), *unread), e.number(0.0))


def _conv(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    kernel = [node.input(1).fixed(at + 2) for at in range(node.input(0).rank - 2)]
    groups = int(node.attribute("group", 1))
    channels = node.input(1).fixed(0), node.input(1).fixed(1)
    window, weight = Window(node, kernel), node.inputs[1]
    return (_turned(e, window, only(gradients), weight, channels, groups),)


def _conv_transpose(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    if node.attribute("auto_pad", "NOTSET") != "NOTSET" or node.attribute("output_shape"):
        raise node.refusal("a padding that is not stated in numbers")
    count = node.input(0).rank - 2
    pads = list(node.attribute("pads", [0] * 2 * count))
    named = {
        "strides": list(node.attribute("strides", [1] * count)),
        "dilations": list(node.attribute("dilations", [1] * count)),
        "group": int(node.attribute("group", 1)),
    }
    found = e.op("Conv", only(gradients), node.inputs[1], pads=pads, **named)
    # The strides may leave a rest at the end, of which nothing came.
    sizes = [node.input(0).fixed(at + 2) for at in range(count)]
    axes = e.integers(*range(2, count + 2))
    return (e.op("Slice", found, e.integers(*[0] * count), e.integers(*sizes), axes),)


def _max_pool(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """Each gradient goes back to the place that its maximum came from."""
    given = {each.name: helper.get_attribute_value(each) for each in node.proto.attribute}
    # Places are counted row by row here, whatever order the model counts its own in.
    given.pop("storage_order", None)
    _, places = e.several("MaxPool", (node.inputs[0],), 2, **given)
    flat = e.integers(-1)
    zeros = e.op("Reshape", e.zeros_like(node.inputs[0]), flat)
    values = e.op("Reshape", only(gradients), flat)
    at = e.op("Reshape", places, flat)
    found = e.op("ScatterElements", zeros, at, values, axis=0, reduction="add")
    return (e.op("Reshape", found, e.shape(node.inputs[0])),)


def _average_pool(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    window = Window(node, node.attribute("kernel_shape"))
    channels = node.input(0).fixed(1)
    ones = np.ones((channels, 1, *window.kernel), np.float32)
    counts = _counts(window, bool(int(node.attribute("count_include_pad", 0))))
    shares = e.op("Div", only(gradients), e.constant(counts[np.newaxis, np.newaxis]))
    return (_turned(e, window, shares, e.constant(ones), (channels, 1), channels),)


def _counts(window: Window, padded: bool) -> npt.NDArray[np.float32]:
    """How many places each window averages over."""
    along_axes = []
    for at, kernel in enumerate(window.kernel):
        before, after = window.pads[at], window.pads[at + len(window.kernel)]
        least, most = (-before, window.sizes[at] + after) if padded else (0, window.sizes[at])
        starts = np.arange(window.results[at]) * window.strides[at] - before
        places = starts[:, np.newaxis] + np.arange(kernel) * window.dilations[at]
        along_axes.append(((places >= least) & (places < most)).sum(axis=1))
    shape = [len(each) for each in along_axes]
    counts = np.ones(shape, np.float32)
    for place in product(*map(range, shape)):
        counts[place] = math.prod(int(along_axes[at][i]) for at, i in enumerate(place))
    return counts


def _global_average(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    axes = range(2, node.input(0).rank)
    count = math.prod(node.input(0).fixed(axis) for axis in axes)
    share = e.op("Div", only(gradients), e.number(count))
    return (e.op("Expand", share, e.shape(node.inputs[0])),)


def _resize(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """A resize is a linear map of each axis; its matrix is what it makes of the identity."""
    if node.attribute("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise node.refusal("it crops")
    data, found = node.input(0), only(gradients)
    factors = _factors(node)
    for axis in range(1, data.rank):
        size, result = data.fixed(axis), node.output().fixed(axis)
        factor = factors.get(axis)
        if size != result or factor not in (None, 1.0):
            matrix = _resized(node, size, result, factor)
            found = along(e, found, data.rank, axis, matrix)
    return (found,)


def _factors(node: MeasuredNode) -> dict[int, float]:
    """The scale of each axis, where scales are given; sizes are measured. Raises GRADIENT_MISSING
    where sizes are rounded, so that they do not tell the scale.
    """
    data = node.input(0)
    axes = [int(axis) % data.rank for axis in node.attribute("axes", range(data.rank))]
    if node.has(2) and node.value(2).size:
        return dict(zip(axes, node.value(2).reshape(-1).tolist(), strict=True))
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return {}
    sizes = node.value(3).reshape(-1).tolist()
    ratios = [size / data.fixed(axis) for axis, size in zip(axes, sizes, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    if any(abs(scale * data.fixed(at) - node.output().fixed(at)) > _WHOLE for at in axes):
        raise node.refusal(f"keep_aspect_ratio_policy {policy} rounds its sizes: state them")
    return {}


def _resized(
    node: MeasuredNode, size: int, result: int, factor: float | None
) -> npt.NDArray[np.float32]:
    """The operator's matrix for an axis of this size, [size, result]."""
    given = {each.name: helper.get_attribute_value(each) for each in node.proto.attribute}
    for name in ("axes", "keep_aspect_ratio_policy"):
        given.pop(name, None)
    inputs = ["x", "", "", "sizes"] if factor is None else ["x", "", "scales"]
    constants = (
        helper.make_tensor("sizes", onnx.TensorProto.INT64, [4], [1, 1, size, result])
        if factor is None
        else helper.make_tensor("scales", onnx.TensorProto.FLOAT, [4], [1, 1, 1, factor])
    )
    graph = helper.make_graph(
        [helper.make_node("Resize", inputs, ["y"], **given)],
        "axis",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, size, size])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [constants],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR)
    session = Session.open(model.SerializeToString(), ["y"])
    (found,) = session.run({"x": np.eye(size, dtype=np.float32)[np.newaxis, np.newaxis]})
    matrix: npt.NDArray[np.float32] = found[0, 0]
    return matrix


RULES: Mapping[str, Rule] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _global_average,
    "MaxPool": _max_pool,
    "Resize": _resize,
}
