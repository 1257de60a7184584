"""Ways of reading one long text with the same weights: attention of every token to every other, in
fused kernels, and attention by blocks.

    torch fused          torch's own scaled_dot_product_attention
    torch fused, blocks  the same, with what follows attention block by block, as it is in windows
    torch window         `training.models.long_encoder`
    onnx plain           the graph of `training.export.text`
    onnx fused           ONNX Runtime's MultiHeadAttention, which for one text without padding runs
                         its flash kernel
    onnx window          the graph of `training.export.long_text`
"""

from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file
from torch.nn import functional

from benchmarks.training.peak import Read
from inference.runtime import response_contract
from inference.text.tokens import Ids
from training.export.classifier import OPSET
from training.export.long_text import Nodes, as_model, export_long_serving
from training.export.text import export_text_serving
from training.models.encoder import MINILM, EncoderLayer, EncoderSize, TextClassifier
from training.models.long_encoder import AttentionReach, lengthened, size_of

TORCH_FUSED, TORCH_BLOCKS, TORCH_WINDOW = "torch fused", "torch fused, blocks", "torch window"
ONNX_PLAIN, ONNX_FUSED, ONNX_WINDOW = "onnx plain", "onnx fused", "onnx window"
OF_TORCH = (TORCH_FUSED, TORCH_BLOCKS, TORCH_WINDOW)
OF_ONNX = (ONNX_PLAIN, ONNX_FUSED, ONNX_WINDOW)
REACH = AttentionReach()


class Fused(TextClassifier):
    """A `TextClassifier` of one text at a time, without padding, whose attention is fused; in
    blocks of `block` tokens behind attention, if it is given.
    """

    block: int = 0

    def _through(self, x: torch.Tensor, mask: torch.Tensor, start: int, end: int) -> torch.Tensor:
        x = self.norm(x + self.positions.weight[: x.shape[1]])
        for layer in self.layers:
            x = self._pass(layer, x)
        return x

    def _pass(self, layer: EncoderLayer, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer.by_head(part(x)) for part in (layer.query, layer.key, layer.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        del query, key, value
        if not self.block:
            return layer.behind(x, mixed)
        out = torch.empty_like(x)
        for at in range(0, x.shape[1], self.block):
            here = slice(at, at + self.block)
            out[:, here] = layer.behind(x[:, here], mixed[:, :, here])
        return out


def of_torch(way: str, module: TextClassifier) -> Read:
    """`module` has positions for the text."""
    net = as_way(way, module).eval()

    def read(row: Ids) -> np.ndarray:
        with torch.no_grad():
            ids = torch.from_numpy(row)[None]
            return net(net(ids), torch.ones_like(ids))[0].numpy()

    return read


def as_way(way: str, module: TextClassifier) -> TextClassifier:
    if way == TORCH_WINDOW:
        return lengthened(module, module.positions.num_embeddings, REACH)
    net = Fused(size_of(module), module.head.out_features)
    net.load_state_dict(module.state_dict())
    net.block = REACH.block if way == TORCH_BLOCKS else 0
    return net


def graph(way: str, module: TextClassifier) -> bytes:
    """An ONNX model of the module."""
    module.eval()
    if way == ONNX_WINDOW:
        return export_long_serving(
            lengthened(module, module.positions.num_embeddings, REACH).eval()
        )
    return export_text_serving(module) if way == ONNX_PLAIN else _fused(module)


def load(path: Path) -> TextClassifier:
    """An encoder of heads like MiniLM's, from its weights (safetensors)."""
    state = load_file(path)
    vocabulary, width = state["words.weight"].shape
    layers = sum(name.endswith(".query.weight") for name in state)
    size = EncoderSize(
        vocabulary,
        len(state["positions.weight"]),
        width,
        len(state["layers.0.inner.bias"]),
        layers,
        width * MINILM.heads // MINILM.width,
    )
    module = TextClassifier(size, len(state["head.bias"]))
    module.load_state_dict(state)
    return module.eval()


def _fused(module: TextClassifier) -> bytes:
    nodes, heads = Nodes(), module.head.in_features // module.layers[0].head_width

    def linear(x: str, name: str) -> str:
        turned = nodes("Transpose", f"{name}.weight", perm=[1, 0])
        return nodes("Add", nodes("MatMul", x, turned), f"{name}.bias")

    def norm(x: str, name: str) -> str:
        scale = f"{name}.weight", f"{name}.bias"
        return nodes("LayerNormalization", x, *scale, axis=-1, epsilon=module.norm.eps)

    size = nodes("Shape", response_contract.IDS, start=1, end=2)
    known = nodes("Slice", "positions.weight", nodes.ints(0), size, nodes.ints(0))
    x = norm(nodes("Add", nodes("Gather", "words.weight", response_contract.IDS), known), "norm")
    for at in range(len(module.layers)):
        name = f"layers.{at}."
        parts = [linear(x, f"{name}{part}") for part in ("query", "key", "value")]
        mixed = nodes("MultiHeadAttention", *parts, num_heads=heads, domain="com.microsoft")
        x = norm(nodes("Add", x, linear(mixed, f"{name}mixed")), f"{name}mixed_norm")
        outer = linear(nodes("Gelu", linear(x, f"{name}inner")), f"{name}outer")
        x = norm(nodes("Add", x, outer), f"{name}outer_norm")
    # Read, so that the graph takes what the others take.
    held = nodes("Cast", response_contract.MASK, to=TensorProto.FLOAT)
    total = nodes("MatMul", nodes("Unsqueeze", held, nodes.ints(1)), x)
    mean = nodes(
        "Div",
        nodes("Squeeze", total, nodes.ints(1)),
        nodes("ReduceSum", held, nodes.ints(1), keepdims=1),
    )
    nodes("Gemm", mean, "head.weight", "head.bias", transB=1, name=response_contract.LOGITS)
    rows = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
        for name in (response_contract.IDS, response_contract.MASK)
    ]
    sizes = ["rows", module.head.out_features]
    logits = helper.make_tensor_value_info(response_contract.LOGITS, TensorProto.FLOAT, sizes)
    parameters = {name: value.detach().numpy() for name, value in module.named_parameters()}
    return as_model(nodes, parameters, rows, [logits], {"": OPSET, "com.microsoft": 1})
