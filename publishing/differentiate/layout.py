"""Gradients of operators that move elements, and compute nothing."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from publishing.differentiate.graphs import Emitter, Gradients, MeasuredNode, Rule, only, summed_to


def _reshaped(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """Of Reshape, Flatten, Squeeze and Unsqueeze."""
    return (e.op("Reshape", only(gradients), e.shape(node.inputs[0])),)


def _expand(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    return (summed_to(e, node, only(gradients), 0),)


def _transpose(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    rank = node.input(0).rank
    order = list(node.attribute("perm", range(rank - 1, -1, -1)))
    return (e.op("Transpose", only(gradients), perm=[order.index(at) for at in range(rank)]),)


def _concat(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    axis = int(node.attribute("axis")) % node.output().rank
    sizes = [node.input(at).fixed(axis) for at in range(len(node.inputs))]
    if len(sizes) == 1:
        return (only(gradients),)
    parts = (only(gradients), e.integers(*sizes))
    return e.several("Split", parts, len(sizes), axis=axis)


def _split(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    axis = node.axis(0)
    parts = [
        given or e.zeros_like(name) for given, name in zip(gradients, node.outputs, strict=True)
    ]
    return (e.op("Concat", *parts, axis=axis),)


def _slice(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    starts, ends = node.value(1), node.value(2)
    axes = node.value(3) if node.has(3) else np.arange(len(starts))
    steps = node.value(4) if node.has(4) else np.ones(len(starts), np.int64)
    rank, found = node.input(0).rank, only(gradients)
    # One axis after the other, from the last: each time what was cut is put back as zeros.
    sizes = {int(a) % rank: node.input(0).fixed(int(a) % rank) for a in axes}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = sizes[int(axis) % rank]
        kept = np.arange(size)[slice(*_bounds(int(start), int(end), int(step), size))]
        found = _spread(e, found, rank, int(axis) % rank, kept, size)
    return (found,)


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int | None, int]:
    """As Python counts: an end before the first element is None."""
    if step > 0:
        return start, end, step
    return start, None if end < -size else end, step


def _spread(
    e: Emitter, found: str, rank: int, axis: int, kept: npt.NDArray[np.int64], size: int
) -> str:
    """Put `found` at the places `kept` of an axis that has `size` places, and add up what meets."""
    if np.array_equal(kept, np.arange(size)):
        return found
    first = int(kept[0]) if len(kept) else 0
    if np.array_equal(kept, np.arange(first, first + len(kept))):
        behind = size - first - len(kept)
        return e.op("Pad", found, e.integers(first, behind), e.number(0.0), e.integers(axis))
    # A product with what says which place each came from.
    chooser = np.zeros((size, len(kept)), np.float32)
    chooser[kept, np.arange(len(kept))] = 1
    return along(e, found, rank, axis, chooser)


def along(e: Emitter, found: str, rank: int, axis: int, matrix: npt.NDArray[np.float32]) -> str:
    """Multiply an axis of `found` by a constant matrix [new size, old size]."""
    columns = e.constant(np.ascontiguousarray(matrix.T, np.float32))
    if axis == rank - 1:
        return e.op("MatMul", found, columns)
    order = [at for at in range(rank) if at != axis] + [axis]
    moved = e.op("MatMul", e.op("Transpose", found, perm=order), columns)
    return e.op("Transpose", moved, perm=[order.index(at) for at in range(rank)])


def _gather(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    axis, indices = node.axis(0), node.value(1)
    data = node.input(0)
    size = data.fixed(axis)
    kept = np.mod(indices.reshape(-1).astype(np.int64), size)
    found = only(gradients)
    if indices.ndim == 0:
        found = e.op("Unsqueeze", found, e.integers(axis))
    elif indices.ndim != 1:
        # The axes of the indices become one; that of the rows may come after them.
        shape = e.integers(*[0] * axis, len(kept))
        rest = e.op("Shape", node.inputs[0], start=axis + 1)
        found = e.op("Reshape", found, e.op("Concat", shape, rest, axis=0))
    return (_spread(e, found, data.rank, axis, kept, size),)


def _pad(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    if node.attribute("mode", "constant") != "constant":
        raise node.refusal(f"a padding of mode {node.attribute('mode')}")
    data, pads = node.input(0), [int(each) for each in node.value(1)]
    axes = [int(each) % data.rank for each in node.value(3)] if node.has(3) else range(data.rank)
    if min(pads) < 0:
        raise node.refusal("a negative padding")
    moved = [at for at in range(len(pads) // 2) if pads[at] or pads[at + len(pads) // 2]]
    if not moved:
        return (only(gradients),)
    places = [list(axes)[at] for at in moved]
    starts = e.integers(*(pads[at] for at in moved))
    ends = e.integers(
        *(pads[at] + data.fixed(axis) for at, axis in zip(moved, places, strict=True))
    )
    return (e.op("Slice", only(gradients), starts, ends, e.integers(*places)),)


def _tile(e: Emitter, node: MeasuredNode, gradients: Gradients) -> Sequence[str | None]:
    """The sum over the copies, of which each axis has `times`."""
    found, data = only(gradients), node.input(0)
    times = [int(each) for each in node.value(1)]
    for axis, count in enumerate(times):
        if count != 1:
            size = data.fixed(axis)
            folded = np.tile(np.eye(size, dtype=np.float32), (1, count))
            found = along(e, found, data.rank, axis, folded)
    return (found,)


RULES: Mapping[str, Rule] = {
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _reshaped,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshaped,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshaped,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshaped,
}
