"""The INT8 form of a subject's network, and where its answers are not those of its float32 twin.

Attacks that stop right behind a boundary stop within what rounding moves it by, so a disagreement
of the two may tell of them. It costs nothing where both run anyway.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from inference.runtime import Session
from publishing.quantize import quantize
from training.mlp import Mlp

Floats = npt.NDArray[np.float32]
_LAYERS = ("first", "second", "last")
_OPSET = 20
FEATURES = 3


@dataclass(frozen=True, slots=True)
class Served:
    """An INT8 network."""

    session: Session

    def logits(self, x: Floats) -> Floats:
        """Of rows x [n, D], [n, C]."""
        (found,) = self.session.run({"x": x})
        return np.asarray(found, np.float32)

    def features(self, x: Floats, twin: Floats) -> Floats:
        """[n, FEATURES] beside the logits [n, C] of the float32 twin: whether both answer alike, by
        how much the lead of the twin's answer differs, and how far the logits are apart.
        """
        ours, rows = self.logits(x), np.arange(len(x))
        answer = twin.argmax(axis=1)
        leads = []
        for logits in (ours, twin):
            others = logits.copy()
            others[rows, answer] = -np.inf
            leads.append(logits[rows, answer] - others.max(axis=1))
        apart = np.linalg.norm(ours - twin, axis=1)
        differ = ours.argmax(axis=1) != answer
        return np.stack([differ, leads[0] - leads[1], apart], axis=1).astype(np.float32)


def served(module: Mlp, rows: Floats) -> Served:
    """As a version is quantized: on rows [n, D] of the fit slice."""
    return Served(Session.open(quantize(_graph(module), "x", rows), ["logits"]))


def _graph(module: Mlp) -> bytes:
    """The network as ONNX: three products, with rectifiers between them."""
    nodes, tensors, entered = [], [], "x"
    for name in _LAYERS:
        layer = getattr(module, name)
        for kind in ("weight", "bias"):
            values = getattr(layer, kind).detach().numpy()
            tensors.append(numpy_helper.from_array(values, f"{name}.{kind}"))
        left = "logits" if name == _LAYERS[-1] else f"{name}.product"
        given = [entered, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Gemm", given, [left], name, transB=1))
        if name != _LAYERS[-1]:
            entered = f"{name}.rectified"
            nodes.append(helper.make_node("Relu", [left], [entered], entered))
    sizes = module.first.in_features, module.last.out_features
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in zip(("x", "logits"), sizes, strict=True)
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], tensors)
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()
