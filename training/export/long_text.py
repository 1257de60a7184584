"""Exports a classifier of long texts to its serving graph.

    input_ids, attention_mask int64 [n, s] -> logits float32 [n, C]

The exporter would unroll a loop over blocks for one length, so this graph is written node by node,
by the rules of `training.export.classifier`: each parameter is one initializer under the module's
own name, and sizes are free. A text is laid out in blocks [blocks, n, block, width]. In each layer
a Scan goes over them, and sees all of them if the text is short enough
(`training.models.long_encoder`).
"""

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper

from inference.runtime import response_contract
from training.export.classifier import OPSET
from training.export.nodes import Nodes, as_model
from training.models.encoder import NO_ATTENTION
from training.models.long_encoder import FrequentWordEmbedding, LongTextClassifier

_ROWS = "rows"


def export_long_serving(module: LongTextClassifier) -> bytes:
    """Return the graph. Raises ValueError for a module in training mode."""
    if module.training:
        raise ValueError("the module is in training mode")
    nodes = Nodes()
    writer = _Writer(module, nodes)
    x = writer.enter()
    for at in range(len(module.layers)):
        x = writer.layer(f"layers.{at}.", x)
    pooled = writer.pooled(x)
    nodes("Gemm", pooled, "head.weight", "head.bias", transB=1, name=response_contract.LOGITS)
    classes = module.head.out_features
    texts = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [_ROWS, "tokens"])
        for name in (response_contract.IDS, response_contract.MASK)
    ]
    logits = helper.make_tensor_value_info(
        response_contract.LOGITS, TensorProto.FLOAT, [_ROWS, classes]
    )
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    parameters = {name: value.detach().numpy() for name, value in held.items()}
    return as_model(nodes, parameters, texts, [logits], {"": OPSET})


class _Writer:
    """Writes an encoder's nodes, outside of its loops into `nodes`."""

    def __init__(self, module: LongTextClassifier, nodes: Nodes) -> None:
        self._nodes, self._reach = nodes, module.reach
        self._width = module.head.in_features
        self._head_width = module.layers[0].head_width
        self._epsilon = module.norm.eps
        self._few_words = isinstance(module.words, FrequentWordEmbedding)
        # Sizes, int64 [1]: of a text, of a block, of the text in whole blocks; and int64 [].
        self._tokens = nodes("Shape", response_contract.IDS, start=1, end=2)
        self._block = nodes("Min", self._tokens, nodes.ints(module.reach.block))
        most = nodes("Sub", nodes("Add", self._tokens, self._block), nodes.ints(1))
        self._blocks = nodes("Div", most, self._block)
        self._filled = nodes("Mul", self._blocks, self._block)
        short = nodes("LessOrEqual", self._tokens, nodes.ints(module.reach.whole))
        side = nodes("Where", short, self._blocks, nodes.ints(1))
        self._side, self._count, self._places = (
            nodes("Squeeze", size) for size in (side, self._blocks, self._block)
        )

    def enter(self) -> str:
        """From ids and mask to what enters the first layer [blocks, n, block, width]."""
        nodes = self._nodes
        self._held = nodes("Cast", self._in_blocks(response_contract.MASK), to=TensorProto.FLOAT)
        absent = nodes("Sub", nodes.number(1.0), self._held)
        self._bias = nodes("Mul", absent, nodes.number(NO_ATTENTION))
        places = nodes("Range", nodes.index(0), nodes("Squeeze", self._filled), nodes.index(1))
        shape = nodes("Concat", self._blocks, nodes.ints(1), self._block, axis=0)
        first = nodes("Less", nodes("Reshape", places, shape), nodes.index(self._reach.first))
        # The first tokens are seen by all, and so by their neighbours not a second time.
        self._near = nodes("Where", first, nodes.number(NO_ATTENTION), self._bias)
        known = nodes("Slice", "positions.weight", nodes.ints(0), self._filled, nodes.ints(0))
        known = nodes("Reshape", known, nodes("Concat", shape, nodes.ints(-1), axis=0))
        ids = (
            nodes("Gather", "words.place", response_contract.IDS)
            if self._few_words
            else response_contract.IDS
        )
        # Before blocks are made of them, as screening's first stage looks for them.
        words = self._in_blocks(nodes("Gather", "words.weight", ids), self._width)
        return self._norm(nodes, nodes("Add", words, known), "norm")

    def layer(self, name: str, x: str) -> str:
        """The output of the layer of this name for x [blocks, n, block, width]."""
        nodes = self._nodes
        # Out here, where the runtime folds it once for all blocks.
        self._turned = {
            f"{name}{part}": nodes("Transpose", f"{name}{part}.weight", perm=[1, 0])
            for part in ("query", "key", "value", "mixed", "inner", "outer")
        }
        key = self._by_head(nodes, self._linear(nodes, x, f"{name}key"), (0, 1, 3, 4, 2))
        value = self._by_head(nodes, self._linear(nodes, x, f"{name}value"), (0, 1, 3, 2, 4))
        body = self._body(name, x, key, value, self._lead(name, x, key, value))
        numbers = nodes("Range", nodes.index(0), self._count, nodes.index(1))
        return nodes("Scan", numbers, body=body, num_scan_inputs=1)

    def pooled(self, x: str) -> str:
        """The mean over the tokens of each text, [n, width]."""
        nodes = self._nodes
        held = nodes("Unsqueeze", self._held, nodes.ints(2))
        total = nodes("ReduceSum", nodes("MatMul", held, x), nodes.ints(0, 2), keepdims=0)
        tokens = nodes("ReduceSum", held, nodes.ints(0, 3), keepdims=0)
        return nodes("Div", total, tokens)

    def _body(self, name: str, x: str, key: str, value: str, lead: str) -> onnx.GraphProto:
        """From a block's number to what leaves the layer there, [n, block, width]."""
        nodes, at = Nodes(self._nodes), f"{name}block"
        own = nodes("Gather", x, at)
        low = nodes("Max", nodes("Sub", at, self._side), nodes.index(0))
        high = nodes("Add", nodes("Add", at, self._side), nodes.index(1))
        high = nodes("Min", high, self._count)
        beside = nodes("Range", low, high, nodes.index(1))
        keys = self._seen(nodes, key, beside, (1, 2, 3, 0, 4), (0, 0, 0, -1))
        values = self._seen(nodes, value, beside, (1, 2, 0, 3, 4), (0, 0, -1, self._head_width))
        near = nodes("Transpose", nodes("Gather", self._near, beside), perm=[1, 0, 2])
        near = nodes("Reshape", near, nodes.ints(0, -1))
        bias = nodes("Concat", self._begin(nodes, self._bias, 1), near, axis=1)
        query = self._query(nodes, name, own)
        scores = nodes("Add", nodes("MatMul", query, keys), self._unsqueezed(nodes, bias, 1, 2))
        mixed = self._merged(nodes, nodes("MatMul", nodes("Softmax", scores, axis=-1), values))
        rows = nodes("Range", nodes.index(0), self._places, nodes.index(1))
        place = nodes("Add", rows, nodes("Mul", at, self._places))
        leads = nodes("Less", place, nodes.index(self._reach.first))
        mixed = nodes("Where", self._unsqueezed(nodes, leads, 1), lead, mixed)
        mixed = self._linear(nodes, mixed, f"{name}mixed")
        x = self._norm(nodes, nodes("Add", own, mixed), f"{name}mixed_norm")
        inner = nodes("Gelu", self._linear(nodes, x, f"{name}inner"))
        outer = self._linear(nodes, inner, f"{name}outer")
        done = self._norm(nodes, nodes("Add", x, outer), f"{name}outer_norm")
        sizes = [_ROWS, "block", self._width]
        given = helper.make_tensor_value_info(at, TensorProto.INT64, [])
        made = helper.make_tensor_value_info(done, TensorProto.FLOAT, sizes)
        return helper.make_graph(nodes.made, f"{name}blocks", [given], [made])

    def _lead(self, name: str, x: str, key: str, value: str) -> str:
        """The first tokens' attention to all, [n, block, width], with nothing behind them."""
        nodes = self._nodes
        query = self._query(nodes, name, self._begin(nodes, x, 1))
        bias = self._unsqueezed(nodes, self._bias, 2, 3)
        scores = nodes("Add", nodes("MatMul", query, key), bias)
        scores = nodes("Transpose", scores, perm=[1, 2, 3, 0, 4])
        share = nodes("Softmax", nodes("Reshape", scores, nodes.ints(0, 0, 0, -1)), axis=-1)
        share = nodes("Reshape", share, nodes("Shape", scores))
        share = nodes("Transpose", share, perm=[3, 0, 1, 2, 4])
        told = nodes("ReduceSum", nodes("MatMul", share, value), nodes.ints(0), keepdims=0)
        missing = nodes("Sub", self._block, nodes.ints(self._reach.first))
        missing = nodes("Max", missing, nodes.ints(0))
        behind = nodes("Concat", nodes.ints(0, 0, 0, 0), missing, nodes.ints(0), axis=0)
        return nodes("Pad", self._merged(nodes, told), behind)

    def _in_blocks(self, rows: str, *width: int) -> str:
        """From [n, s, ...] to [blocks, n, block, ...], filled up with 0."""
        nodes = self._nodes
        more = [nodes.ints(0) for _ in width]
        missing = nodes("Sub", self._filled, self._tokens)
        before = nodes.ints(*[0] * (3 + len(width)))
        rows = nodes("Pad", rows, nodes("Concat", before, missing, *more, axis=0))
        sizes = [nodes.ints(size) for size in width]
        shape = nodes("Concat", nodes.ints(0), self._blocks, self._block, *sizes, axis=0)
        order = [1, 0, 2, 3][: 3 + len(width)]
        return nodes("Transpose", nodes("Reshape", rows, shape), perm=order)

    def _begin(self, nodes: Nodes, blocks: str, axis: int) -> str:
        """The first tokens of what lies in blocks, which lie on this axis of a block."""
        head = nodes("Gather", blocks, nodes.index(0))
        ends = nodes.ints(self._reach.first)
        return nodes("Slice", head, nodes.ints(0), ends, nodes.ints(axis))

    def _seen(
        self, nodes: Nodes, every: str, beside: str, order: Sequence[int], shape: Sequence[int]
    ) -> str:
        """Keys [n, heads, d, seen] or values [n, heads, seen, d] of the first tokens and others."""
        axis = shape.index(-1)
        near = nodes("Transpose", nodes("Gather", every, beside), perm=list(order))
        near = nodes("Reshape", near, nodes.ints(*shape))
        return nodes("Concat", self._begin(nodes, every, axis), near, axis=axis)

    def _query(self, nodes: Nodes, name: str, own: str) -> str:
        """Scaled, from [n, s, width] to [n, heads, s, d]."""
        query = self._by_head(nodes, self._linear(nodes, own, f"{name}query"), (0, 2, 1, 3))
        return nodes("Mul", query, nodes.number(self._head_width**-0.5))

    def _by_head(self, nodes: Nodes, x: str, order: Sequence[int]) -> str:
        shape = nodes.ints(*[0] * (len(order) - 2), -1, self._head_width)
        return nodes("Transpose", nodes("Reshape", x, shape), perm=list(order))

    def _merged(self, nodes: Nodes, x: str) -> str:
        """From [n, heads, s, d] to [n, s, width]."""
        return nodes("Reshape", nodes("Transpose", x, perm=[0, 2, 1, 3]), nodes.ints(0, 0, -1))

    def _linear(self, nodes: Nodes, x: str, name: str) -> str:
        return nodes("Add", nodes("MatMul", x, self._turned[name]), f"{name}.bias")

    def _norm(self, nodes: Nodes, x: str, name: str) -> str:
        scale = f"{name}.weight", f"{name}.bias"
        return nodes("LayerNormalization", x, *scale, axis=-1, epsilon=self._epsilon)

    def _unsqueezed(self, nodes: Nodes, x: str, *axes: int) -> str:
        return nodes("Unsqueeze", x, nodes.ints(*axes))
