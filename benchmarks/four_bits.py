"""Stores the weights of a QDQ graph in 4 bits each (ONNX's INT4, opset 21).

Training with 4 bits to a weight leaves whole numbers from -8 to 7, which the exported graph
(`training.steps.quantization.to_onnx`) keeps in a byte each. Here they are written two to a byte,
the first in the lower half. The graph's answers stay the same: `DequantizeLinear` takes both types.

A zero point of zeros is what ONNX assumes without one, so it is left out. Weights that no
`DequantizeLinear` reads, such as embeddings, stay in float32.
"""

import numpy as np
import onnx

from sealgate.reasons import Reason, SealgateError

LEAST, MOST = -8, 7
_DEQUANTIZE = "DequantizeLinear"
_OPSET = 21


def store_in_four_bits(graph: bytes) -> bytes:
    """The same ONNX graph, with every quantized weight in 4 bits.

    Raises SealgateError: FORMAT_REFUSED without quantized weights, where one needs more than 4
    bits, where its zero point is not 0, and below opset 21.
    """
    model = onnx.load_from_string(graph)
    opset = max((each.version for each in model.opset_import if not each.domain), default=0)
    if opset < _OPSET:
        raise _refused(f"opset {opset} has no INT4")
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    packed = 0
    for node in model.graph.node:
        if node.op_type == _DEQUANTIZE and _is_int8(held.get(node.input[0])):
            if any(onnx.numpy_helper.to_array(held[name]).any() for name in node.input[2:]):
                raise _refused(f"the zero point of {node.input[0]} is not 0")
            _pack(held[node.input[0]])
            del node.input[2:]
            packed += 1
    if not packed:
        raise _refused("the graph has no quantized weights")
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return bytes(model.SerializeToString(deterministic=True))


def _is_int8(tensor: onnx.TensorProto | None) -> bool:
    return tensor is not None and tensor.data_type == onnx.TensorProto.INT8


def _pack(tensor: onnx.TensorProto) -> None:
    """In place; an odd number of values is filled up with a zero."""
    values = onnx.numpy_helper.to_array(tensor).ravel()
    if values.min(initial=0) < LEAST or values.max(initial=0) > MOST:
        raise _refused(f"{tensor.name} needs more than 4 bits")
    pairs = np.append(values, np.zeros(values.size % 2, np.int8)).reshape(-1, 2).astype(np.uint8)
    tensor.ClearField("int32_data")
    tensor.data_type = onnx.TensorProto.INT4
    tensor.raw_data = (pairs[:, 0] & 15 | pairs[:, 1] << 4).tobytes()


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.FORMAT_REFUSED, detail)
