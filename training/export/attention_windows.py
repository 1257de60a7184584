"""Writes attention in windows into a traced graph, block by block.

A graph is traced with the operators of `training.models.window_attention` whole. Here each becomes
a Scan over the blocks of a text, so what is held at once grows with a block's windows and not with
the square of the text. A text that is short enough has windows as wide as itself. The gradient's
Scan weighs each block anew, and carries what keys and values get from it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from training.export.nodes import Nodes
from training.models.encoder import NO_ATTENTION
from training.models.window_attention import operators

_DOMAIN = "sealgate"
_FORWARD, _BACKWARD = "window_attention", "window_attention_slopes"
_REACH = ("whole", "block", "first")
Tensors = tuple[torch.Tensor, ...]


def decompositions() -> dict[Any, Callable[..., Any]]:
    """The decompositions that keep both operators whole while a graph is traced and exported."""
    return dict(zip(operators(), (_whole_forward, _whole_backward), strict=True))


def _whole_forward(*given: Any) -> torch.Tensor:
    *tensors, whole, block, first = given
    query = tensors[0]
    return torch.onnx.ops.symbolic(
        f"{_DOMAIN}::{_FORWARD}",
        tensors,
        dict(zip(_REACH, (whole, block, first), strict=True)),
        dtype=query.dtype,
        shape=query.shape,
        version=1,
    )


def _whole_backward(*given: Any) -> Tensors:
    *tensors, whole, block, first = given
    query = tensors[1]
    return tuple(
        torch.onnx.ops.symbolic_multi_out(
            f"{_DOMAIN}::{_BACKWARD}",
            tensors,
            dict(zip(_REACH, (whole, block, first), strict=True)),
            dtypes=[query.dtype] * 3,
            shapes=[query.shape] * 3,
            version=1,
        )
    )


def write_windows(model: onnx.ModelProto) -> None:
    """Replace the operators by nodes of ONNX's own, in place."""
    graph, made = model.graph, list[onnx.NodeProto]()
    nodes, masks = Nodes(prefix="windows."), dict[str, _BlockWriter]()
    for node in graph.node:
        if node.domain != _DOMAIN:
            made.append(node)
            continue
        reach = {attribute.name: attribute.i for attribute in node.attribute}
        mask = node.input[-1]
        if mask not in masks:
            masks[mask] = _BlockWriter(nodes, mask, reach)
        write = masks[mask].forward if node.op_type == _FORWARD else masks[mask].backward
        write(*node.input[:-1], *node.output)
        made += nodes.made
        nodes.made.clear()
    del graph.node[:]
    graph.node.extend(made)
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in nodes.constants.items()
    )
    kept = [each for each in model.opset_import if each.domain != _DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)


class _BlockWriter:
    """Writes attention of texts under one `mask` int64 [n, s].

    In blocks, what is [n, heads, s, d] is [blocks, n, heads, block, d], filled up with 0.
    """

    def __init__(self, nodes: Nodes, mask: str, reach: Mapping[str, int]) -> None:
        self._nodes = nodes
        # Sizes, int64 [1]: of a text, of its first tokens, of a block, of the text in whole blocks.
        self._tokens = nodes("Shape", mask, start=1, end=2)
        self._first = nodes("Min", self._tokens, nodes.ints(reach["first"]))
        self._block = nodes("Min", self._tokens, nodes.ints(reach["block"]))
        most = nodes("Sub", nodes("Add", self._tokens, self._block), nodes.ints(1))
        self._blocks = nodes("Div", most, self._block)
        self._filled = nodes("Mul", self._blocks, self._block)
        short = nodes("LessOrEqual", self._tokens, nodes.ints(reach["whole"]))
        side = nodes("Where", short, self._blocks, nodes.ints(1))
        self._side, self._count = (nodes("Squeeze", size) for size in (side, self._blocks))
        self._numbers = nodes("Range", nodes.index(0), self._count, nodes.index(1))
        held = nodes("Cast", mask, to=TensorProto.FLOAT)
        absent = nodes("Sub", nodes.number(1.0), held)
        # [n, 1, 1, s], and by blocks [blocks, n, block] for all but the first tokens, which every
        # block sees apart.
        self._bias = nodes("Unsqueeze", nodes("Mul", absent, self._none()), nodes.ints(1, 2))
        missing = nodes("Sub", self._filled, self._tokens)
        held = nodes("Pad", held, nodes("Concat", nodes.ints(0, 0, 0), missing, axis=0))
        places = nodes("Range", nodes.index(0), nodes("Squeeze", self._filled), nodes.index(1))
        self._leads = nodes("Less", places, nodes("Squeeze", self._first))
        held = nodes("Where", self._leads, nodes.number(0.0), held)
        near = nodes("Mul", nodes("Sub", nodes.number(1.0), held), self._none())
        shape = nodes("Concat", nodes.ints(0), self._blocks, self._block, axis=0)
        self._near = nodes("Transpose", nodes("Reshape", near, shape), perm=[1, 0, 2])

    def forward(self, query: str, key: str, value: str, told: str) -> None:
        """Writes what queries gather of values, all [n, heads, s, d]."""
        nodes = self._nodes
        query = self._scaled(query)
        blocks = [self._in_blocks(each) for each in (query, key, value)]
        inner, at = Nodes(nodes), f"{told}.block"
        seen = _SeenByBlock(self, inner, at, key, value, *blocks)
        mixed = inner("MatMul", seen.shares, seen.values)
        body = helper.make_graph(inner.made, f"{told}.blocks", [_at(at)], [_float(mixed, 4)])
        rest = nodes("Scan", self._numbers, body=body, num_scan_inputs=1)
        lead = nodes("MatMul", self._lead_shares(query, key), value)
        rest = nodes("Slice", self._of_blocks(rest), self._first, self._tokens, nodes.ints(2))
        nodes("Concat", lead, rest, axis=2, name=told)

    def backward(self, slope: str, query: str, key: str, value: str, *slopes: str) -> None:
        """Writes the slopes by query, key and value of what has a `slope` by what was gathered."""
        nodes = self._nodes
        factor = self._factor(query)
        query = self._scaled(query)
        by_query, by_key, by_value = self._lead_slopes(slope, query, key, value)
        leads = nodes("Slice", self._leads, nodes.ints(0), self._tokens, nodes.ints(0))
        rest = nodes("Where", nodes("Unsqueeze", leads, nodes.ints(1)), nodes.number(0.0), slope)
        blocks = [self._in_blocks(each) for each in (query, key, value, rest)]
        scanned, at_first = self._scan_back(f"{slopes[0]}.", key, value, blocks)
        by_query = nodes("Add", self._of_blocks(scanned[0]), by_query)
        nodes("Mul", by_query, factor, name=slopes[0])
        # Of each block's own tokens, and of the first, which it sees apart.
        for name, lead, part, first in zip(
            slopes[1:], (by_key, by_value), scanned[1:], at_first, strict=True
        ):
            found = nodes("Add", self._of_blocks(part), self._at_first(first))
            nodes("Add", found, lead, name=name)

    def _scan_back(
        self, name: str, key: str, value: str, blocks: list[str]
    ) -> tuple[list[str], list[str]]:
        """In blocks by query, key and value; and by the first tokens' keys and values."""
        nodes, inner, at = self._nodes, Nodes(self._nodes), f"{name}block"
        nothing = nodes("Mul", blocks[1], nodes.number(0.0))
        none = nodes("Mul", self._begin(nodes, key), nodes.number(0.0))
        carried = {f"{name}{part}": (nothing, 5) for part in ("key", "value")}
        carried |= {f"{name}first_{part}": (none, 4) for part in ("key", "value")}
        query, keys, values, slope = blocks
        seen = _SeenByBlock(self, inner, at, key, value, query, keys, values)
        own = inner("Gather", slope, at)
        by_share = inner("MatMul", own, inner("Transpose", seen.values, perm=[0, 1, 3, 2]))
        by_score = _by_score(inner, seen.shares, by_share)
        by_query = inner("MatMul", by_score, inner("Transpose", seen.keys, perm=[0, 1, 3, 2]))
        turned = [inner("Transpose", each, perm=[0, 1, 3, 2]) for each in (by_score, seen.shares)]
        parts = zip(turned, (seen.own, own), strict=True)
        by_key, by_value = (inner("MatMul", *pair) for pair in parts)
        made = [
            *(
                self._added(inner, into, by, seen.beside)
                for into, by in zip(list(carried)[:2], (by_key, by_value), strict=True)
            ),
            *(
                inner("Add", into, self._begin(inner, by))
                for into, by in zip(list(carried)[2:], (by_key, by_value), strict=True)
            ),
        ]
        given = [*(_float(into, axes) for into, (_, axes) in carried.items()), _at(at)]
        axes = [axes for _, axes in carried.values()]
        told = [*(map(_float, made, axes)), _float(by_query, 4)]
        body = helper.make_graph(inner.made, f"{name}blocks", given, told)
        begun = [start for start, _ in carried.values()]
        ended = [f"{into}.end" for into in carried]
        outputs = [*ended, f"{name}query"]
        nodes.made.append(
            helper.make_node("Scan", [*begun, self._numbers], outputs, body=body, num_scan_inputs=1)
        )
        return [outputs[4], *outputs[:2]], outputs[2:4]

    def _added(self, inner: Nodes, into: str, by: str, beside: str) -> str:
        """Adds to each block in `into` the part of [n, heads, seen, d] that belongs to the blocks
        `beside`.
        """
        by = inner("Slice", by, self._first, inner.ints(1 << 31), inner.ints(2))
        shape = inner("Concat", inner.ints(0, 0, -1), self._block, inner("Shape", by, start=3),
                      axis=0)  # fmt: skip
        by = inner("Transpose", inner("Reshape", by, shape), perm=[2, 0, 1, 3, 4])
        places = inner("Unsqueeze", beside, inner.ints(1))
        return inner("ScatterND", into, places, by, reduction="add")

    def _lead_shares(self, query: str, key: str) -> str:
        """Of the first tokens in all, [n, heads, first, s]; the query is scaled."""
        nodes = self._nodes
        turned = nodes("Transpose", key, perm=[0, 1, 3, 2])
        scores = nodes("MatMul", self._begin(nodes, query), turned)
        return nodes("Softmax", nodes("Add", scores, self._bias), axis=-1)

    def _lead_slopes(self, slope: str, query: str, key: str, value: str) -> tuple[str, str, str]:
        """By query, key and value [n, heads, s, d], of what the first tokens gather."""
        nodes = self._nodes
        shares, own = self._lead_shares(query, key), self._begin(nodes, slope)
        by_share = nodes("MatMul", own, nodes("Transpose", value, perm=[0, 1, 3, 2]))
        by_score = _by_score(nodes, shares, by_share)
        by_query = self._at_first(nodes("MatMul", by_score, key))
        by_key, by_value = (
            nodes("MatMul", nodes("Transpose", each, perm=[0, 1, 3, 2]), other)
            for each, other in ((by_score, self._begin(nodes, query)), (shares, own))
        )
        return by_query, by_key, by_value

    def _in_blocks(self, x: str) -> str:
        nodes = self._nodes
        missing = nodes("Sub", self._filled, self._tokens)
        x = nodes("Pad", x, nodes("Concat", nodes.ints(0, 0, 0, 0, 0, 0), missing, nodes.ints(0),
                                  axis=0))  # fmt: skip
        width = nodes("Shape", x, start=3)
        shape = nodes("Concat", nodes.ints(0, 0), self._blocks, self._block, width, axis=0)
        return nodes("Transpose", nodes("Reshape", x, shape), perm=[2, 0, 1, 3, 4])

    def _of_blocks(self, x: str) -> str:
        nodes = self._nodes
        x = nodes("Transpose", x, perm=[1, 2, 0, 3, 4])
        width = nodes("Shape", x, start=4)
        x = nodes("Reshape", x, nodes("Concat", nodes.ints(0, 0), self._filled, width, axis=0))
        return nodes("Slice", x, nodes.ints(0), self._tokens, nodes.ints(2))

    def _begin(self, nodes: Nodes, x: str) -> str:
        """The first tokens of what is [n, heads, s, d]."""
        return nodes("Slice", x, nodes.ints(0), self._first, nodes.ints(2))

    def _at_first(self, x: str) -> str:
        """The first tokens' part [n, heads, first, d] at its places in [n, heads, s, d]."""
        nodes = self._nodes
        behind = nodes("Sub", self._tokens, self._first)
        none = nodes.ints(0, 0, 0, 0, 0, 0)
        return nodes("Pad", x, nodes("Concat", none, behind, nodes.ints(0), axis=0))

    def _factor(self, query: str) -> str:
        """One by the root of a head's width."""
        nodes = self._nodes
        width = nodes("Cast", nodes("Shape", query, start=3), to=TensorProto.FLOAT)
        return nodes("Reciprocal", nodes("Sqrt", nodes("Squeeze", width)))

    def _scaled(self, query: str) -> str:
        return self._nodes("Mul", query, self._factor(query))

    def _none(self) -> str:
        return self._nodes.number(NO_ATTENTION)

    def beside(self, inner: Nodes, at: str) -> tuple[str, str]:
        """The numbers of the blocks that block `at` sees, and what is added to the scores of the
        first tokens and of theirs, [n, 1, 1, seen].
        """
        low = inner("Max", inner("Sub", at, self._side), inner.index(0))
        high = inner("Add", inner("Add", at, self._side), inner.index(1))
        beside = inner("Range", low, inner("Min", high, self._count), inner.index(1))
        near = inner("Transpose", inner("Gather", self._near, beside), perm=[1, 0, 2])
        near = inner("Unsqueeze", inner("Reshape", near, inner.ints(0, -1)), inner.ints(1, 2))
        begin = inner("Slice", self._bias, inner.ints(0), self._first, inner.ints(3))
        return beside, inner("Concat", begin, near, axis=3)

    def keys(self, inner: Nodes, whole: str, blocks: str, beside: str) -> str:
        """Those that a block sees, the first tokens' before the others', [n, heads, seen, d]."""
        near = inner("Transpose", inner("Gather", blocks, beside), perm=[1, 2, 0, 3, 4])
        width = inner("Shape", near, start=4)
        near = inner("Reshape", near, inner("Concat", inner.ints(0, 0, -1), width, axis=0))
        return inner("Concat", self._begin(inner, whole), near, axis=2)


class _SeenByBlock:
    """A block's view inside a Scan: its `own` queries, `keys` [n, heads, d, seen], `values` [n,
    heads, seen, d] and the `shares` [n, heads, block, seen] of the former in the latter.
    """

    def __init__(
        self, blocks: _BlockWriter, inner: Nodes, at: str, key: str, value: str, *laid: str
    ) -> None:
        query, keys, values = laid
        self.own = inner("Gather", query, at)
        self.beside, bias = blocks.beside(inner, at)
        keys = blocks.keys(inner, key, keys, self.beside)
        self.keys = inner("Transpose", keys, perm=[0, 1, 3, 2])
        self.values = blocks.keys(inner, value, values, self.beside)
        scores = inner("Add", inner("MatMul", self.own, self.keys), bias)
        self.shares = inner("Softmax", scores, axis=-1)


def _by_score(nodes: Nodes, shares: str, by_share: str) -> str:
    """The slope by scores of what has one by their softmax."""
    weighed = nodes("Mul", shares, by_share)
    total = nodes("ReduceSum", weighed, nodes.ints(-1), keepdims=1)
    return nodes("Mul", shares, nodes("Sub", by_share, total))


def _at(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT64, [])


def _float(name: str, axes: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * axes)
