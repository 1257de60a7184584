"""Builds graphs of ONNX node by node."""

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Readable by every ONNX Runtime since 1.18.
_IR_VERSION = 10


class Nodes:
    """Builds nodes of a graph: called with an operator and its inputs, it names the result.

    Constants belong to the outermost graph, which the bodies of loops can see.
    """

    def __init__(self, outer: "Nodes | None" = None, prefix: str = "") -> None:
        """`prefix` begins the names of what is made for a graph that has other nodes."""
        self._prefix: str = prefix if outer is None else outer._prefix
        self.made: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {} if outer is None else outer.constants
        self._numbers: Iterator[int] = count() if outer is None else outer._numbers

    def __call__(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{self._prefix}{kind.lower()}_{next(self._numbers)}"
        self.made.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def ints(self, *values: int) -> str:
        """int64 [values]."""
        return self._constant(f"ints_{'_'.join(map(str, values))}", np.array(values, np.int64))

    def index(self, value: int) -> str:
        """int64 []."""
        return self._constant(f"index_{value}", np.array(value, np.int64))

    def number(self, value: float) -> str:
        """float32 []."""
        return self._constant(f"number_{value!r}", np.array(value, np.float32))

    def _constant(self, name: str, value: np.ndarray) -> str:
        name = f"{self._prefix}{name}"
        self.constants[name] = value
        return name


def as_model(
    nodes: Nodes,
    parameters: Mapping[str, np.ndarray],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    opsets: Mapping[str, int],
) -> bytes:
    """The checked model, each parameter one initializer under its own name."""
    # Not `ascontiguousarray`, which makes [1] of a number's [].
    initializers = [
        numpy_helper.from_array(np.asarray(value, order="C"), name)
        for name, value in {**parameters, **nodes.constants}.items()
    ]
    graph = helper.make_graph(nodes.made, "main", inputs, outputs, initializers)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=_IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
