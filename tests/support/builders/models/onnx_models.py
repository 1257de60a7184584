"""Small ONNX models made by hand: a two-layer perceptron in the forms that a version holds.

The serving graph (float32), its static QDQ INT8 twin and its response graph share the weights of
one `Perceptron`, so that a test can alter one of them and see the inference engine refuse.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, parser

FEATURES = 4

_HEADER = '<ir_version: 9, opset_import: ["" : 20]>'
_SERVING = """
serving (float[n, INPUTS] x) => (float[n, CLASSES] logits) {
    h = MatMul(x, w1)
    hb = Add(h, b1)
    r = Relu(hb)
    z = MatMul(r, w2)
    logits = Add(z, b2)
}
"""
_INT8 = """
served (float[n, INPUTS] x) => (float[n, CLASSES] logits) {
    xq = QuantizeLinear(x, x_scale, x_zero)
    xf = DequantizeLinear(xq, x_scale, x_zero)
    w1f = DequantizeLinear(w1q, w1_scale, w_zero)
    h = MatMul(xf, w1f)
    hq = QuantizeLinear(h, h_scale, h_zero)
    hf = DequantizeLinear(hq, h_scale, h_zero)
    hb = Add(hf, b1)
    r = Relu(hb)
    rq = QuantizeLinear(r, r_scale, r_zero)
    rf = DequantizeLinear(rq, r_scale, r_zero)
    w2f = DequantizeLinear(w2q, w2_scale, w_zero)
    z = MatMul(rf, w2f)
    zq = QuantizeLinear(z, z_scale, z_zero)
    zf = DequantizeLinear(zq, z_scale, z_zero)
    logits = Add(zf, b2)
}
"""
# The gradients are those of the cross-entropy (for x_adv) and of the margin between the label and
# its runner-up (for the features), written out as the chain rule gives them.
_RESPONSE = """
response (float[n, INPUTS] x, int64[n] label, float eps, float clip_min, float clip_max)
    => (float[n, CLASSES] logits, float[n, INPUTS] x_adv, float[n, 4] features) {
    h = MatMul(x, w1)
    hb = Add(h, b1)
    r = Relu(hb)
    z = MatMul(r, w2)
    logits = Add(z, b2)
    own = ArgMax<axis: int = 1, keepdims: int = 0>(logits)
    below = Less(label, zero_label)
    chosen = Where(below, own, label)
    y = OneHot(chosen, depth, off_on)
    penalty = Mul(y, large)
    others = Sub(logits, penalty)
    second = ArgMax<axis: int = 1, keepdims: int = 0>(others)
    y2 = OneHot(second, depth, off_on)
    alive = Greater(hb, zero)
    mask = Cast<to: int = 1>(alive)
    w1t = Transpose<perm: ints = [1, 0]>(w1)
    w2t = Transpose<perm: ints = [1, 0]>(w2)
    p = Softmax<axis: int = 1>(logits)
    dz = Sub(p, y)
    dr = MatMul(dz, w2t)
    dh = Mul(dr, mask)
    g = MatMul(dh, w1t)
    s = Sign(g)
    step = Mul(s, eps)
    moved = Add(x, step)
    x_adv = Clip(moved, clip_min, clip_max)
    mz = Sub(y, y2)
    mr = MatMul(mz, w2t)
    mh = Mul(mr, mask)
    mg = MatMul(mh, w1t)
    ms = Sign(mg)
    mstep = Mul(ms, eps)
    down = Sub(x, mstep)
    x_down = Clip(down, clip_min, clip_max)
    h2 = MatMul(x_down, w1)
    hb2 = Add(h2, b1)
    r2 = Relu(hb2)
    z2 = MatMul(r2, w2)
    logits2 = Add(z2, b2)
    product = Mul(logits, mz)
    margin = ReduceSum<keepdims: int = 1>(product, last)
    product2 = Mul(logits2, mz)
    margin2 = ReduceSum<keepdims: int = 1>(product2, last)
    drop = Sub(margin, margin2)
    norm = ReduceL1<keepdims: int = 1>(mg, last)
    top = ReduceMax<keepdims: int = 1>(p, last)
    features = Concat<axis: int = 1>(margin, drop, norm, top)
}
"""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Perceptron:
    """Weights of x → relu(x·w1 + b1)·w2 + b2; shapes [inputs, hidden] and [hidden, classes]."""

    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats

    @classmethod
    def random(
        cls, seed: int = 0, inputs: int = 8, hidden: int = 16, classes: int = 3
    ) -> "Perceptron":
        rng = np.random.default_rng(seed)

        def draw(scale: float, *shape: int) -> Floats:
            return rng.normal(0, scale, shape).astype(np.float32)

        return cls(
            draw(0.33, inputs, hidden),
            draw(0.1, hidden),
            draw(0.33, hidden, classes),
            draw(0.1, classes),
        )

    @property
    def inputs(self) -> int:
        return self.w1.shape[0]

    @property
    def classes(self) -> int:
        return self.w2.shape[1]

    def logits(self, x: Floats) -> Floats:
        return np.maximum(x @ self.w1 + self.b1, 0) @ self.w2 + self.b2

    def serving(self) -> bytes:
        """The float32 graph."""
        return self._model(_SERVING, self._weights())

    def response(self) -> bytes:
        """The screening graph: forward, gradients and the stepped forward, with four features."""
        constants: dict[str, npt.NDArray[Any]] = {
            "zero_label": np.zeros((), np.int64),
            "zero": np.zeros((), np.float32),
            "large": np.full((), 1e9, np.float32),
            "depth": np.full((), self.classes, np.int64),
            "off_on": np.array([0, 1], np.float32),
            "last": np.array([1], np.int64),
        }
        return self._model(_RESPONSE, self._weights() | constants)

    def int8(self) -> bytes:
        """The static QDQ graph for inputs in [0, 1]."""
        sample = np.random.default_rng(1).random((256, self.inputs), np.float32)
        h = sample @ self.w1
        r = np.maximum(h + self.b1, 0)
        values: dict[str, npt.NDArray[Any]] = {
            "b1": self.b1,
            "b2": self.b2,
            "w_zero": np.zeros((), np.int8),
        }
        for name, weights in (("w1", self.w1), ("w2", self.w2)):
            scale = np.float32(np.abs(weights).max() / 127)
            values[f"{name}_scale"] = np.asarray(scale)
            values[f"{name}q"] = np.clip(np.rint(weights / scale), -127, 127).astype(np.int8)
        for name, data in (("x", sample), ("h", h), ("r", r), ("z", r @ self.w2)):
            low, high = min(float(data.min()), 0.0), max(float(data.max()), 0.0)
            scale = np.float32((high - low) / 255)
            values[f"{name}_scale"] = np.asarray(scale)
            values[f"{name}_zero"] = np.asarray(np.rint(-low / scale), np.uint8)
        return self._model(_INT8, values)

    def _weights(self) -> dict[str, npt.NDArray[Any]]:
        return {"w1": self.w1, "b1": self.b1, "w2": self.w2, "b2": self.b2}

    def _model(self, graph: str, values: dict[str, npt.NDArray[Any]]) -> bytes:
        text = graph.replace("INPUTS", str(self.inputs)).replace("CLASSES", str(self.classes))
        model = parser.parse_model(_HEADER + text)
        model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in values.items())
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def with_external_data(model: bytes) -> bytes:
    """The same model with its first initializer said to lie in a file beside it."""
    proto = onnx.load_model_from_string(model)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"
    return bytes(proto.SerializeToString())


def constant_model() -> bytes:
    """A valid graph that is none of a version's: it answers the identity of its input."""
    info = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "identity", [info], [out])
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, ir_version=9, opset_imports=[opset])
    return bytes(model.SerializeToString())
