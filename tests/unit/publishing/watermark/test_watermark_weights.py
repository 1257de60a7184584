"""Finding the weights again: other names, other layouts, other order, integers for floats."""

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from publishing.quantization import quantize
from publishing.serialization import parse_model
from publishing.watermark import embed_mark
from publishing.watermark.carrier_weights import read_carriers
from publishing.watermark.detection import detect, read_code, weights_of
from publishing.watermark.key import Mark, WatermarkKey
from publishing.watermark.mark_records import WeightSlot
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256

KEY = WatermarkKey("digits", bytes(range(32)))
MARK = Mark(KEY, bytes(4), sha256(b"unmarked"))
# Three weights of one shape in branches: only the graph says which is which.
_BRANCHES = """
<ir_version: 9, opset_import: ["" : 20]>
branches (float[n, 1, 8, 8] x) => (float[n, 10] logits) {
    c = Conv<kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]>(x, k1, kb1)
    cr = Relu(c)
    d = Conv<kernel_shape: ints = [3, 3], strides: ints = [4, 4]>(cr, k2, kb2)
    f = Flatten(d)
    q = MatMul(f, a)
    kt = Gemm<transB: int = 1>(f, b, zero)
    v = MatMul(f, c0)
    s = Add(q, kt)
    m = Mul(s, v)
    r = Relu(m)
    logits = Gemm(r, w, bias)
}
"""
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def marked() -> onnx.ModelProto:
    model = parser.parse_model(_BRANCHES)
    draw = np.random.default_rng(5).standard_normal
    values = {
        "k1": draw((16, 1, 3, 3)) / 3,
        "kb1": np.zeros(16),
        "k2": draw((32, 16, 3, 3)) / 12,
        "kb2": np.zeros(32),
        "a": draw((128, 96)) / 10,
        "b": draw((96, 128)) / 10,
        "c0": draw((128, 96)) / 10,
        "zero": np.zeros(96),
        "w": draw((96, 10)) / 10,
        "bias": np.zeros(10),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()
    )
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    return parse_model(embed_mark(data, data, MARK).serving)


def z(model: onnx.ModelProto) -> float:
    return detect([carrier.values for carrier in read_carriers(model)], MARK.code(worded=False)).z


def test_carriers_are_matrices_and_convolutions_of_a_thousand_elements(
    marked: onnx.ModelProto,
) -> None:
    found = {carrier.name: carrier for carrier in read_carriers(marked)}
    assert {name: carrier.values.shape for name, carrier in found.items()} == {
        "k2": (32, 16, 3, 3),
        "a": (96, 128),
        "b": (96, 128),
        "c0": (96, 128),
    }
    assert found["a"].axes == (1, 0)
    assert found["b"].axes == (0, 1)


def test_what_the_answer_does_not_depend_on_is_no_weight(marked: onnx.ModelProto) -> None:
    watched = _copy(marked)
    basis = np.random.default_rng(3).standard_normal((128, 96)).astype(np.float32)
    watched.graph.initializer.append(numpy_helper.from_array(basis, "basis"))
    watched.graph.node.append(helper.make_node("MatMul", ["f", "basis"], ["features"]))
    float32 = onnx.TensorProto.FLOAT
    features = helper.make_tensor_value_info("features", float32, ["n", 96])
    watched.graph.output.append(features)
    assert "basis" not in {carrier.name for carrier in read_carriers(watched)}
    assert z(watched) == pytest.approx(z(marked))
    # A thief who puts an output of his own first hides the weights from no search.
    watched.graph.output[0].CopyFrom(features)
    watched.graph.output[1].CopyFrom(marked.graph.output[0])
    weights = weights_of("stolen.onnx", watched.SerializeToString())
    slots = [WeightSlot(c.name, c.values.shape, c.axes) for c in read_carriers(marked)]
    assert detect(weights.hosts, MARK.code(worded=False)).z < 6
    assert read_code(weights, MARK.code(worded=False), slots).found


def test_the_order_in_which_nodes_are_listed_does_not_matter(marked: onnx.ModelProto) -> None:
    shuffled = _copy(marked)
    nodes = {node.output[0]: node for node in marked.graph.node}
    del shuffled.graph.node[:]
    order = ["c", "cr", "d", "f", "v", "kt", "q", "s", "m", "r", "logits"]
    shuffled.graph.node.extend(nodes[name] for name in order)
    assert z(shuffled) == pytest.approx(z(marked), rel=0.1)


def test_names_and_the_order_of_initializers_do_not_matter(marked: onnx.ModelProto) -> None:
    renamed = _copy(marked)
    for node in renamed.graph.node:
        node.input[:] = [f"t{hash(name) % 1000003}" for name in node.input]
        node.output[:] = [f"t{hash(name) % 1000003}" for name in node.output]
    for value in (*renamed.graph.initializer, *renamed.graph.input, *renamed.graph.output):
        value.name = f"t{hash(value.name) % 1000003}"
    reverse = list(reversed(renamed.graph.initializer))
    del renamed.graph.initializer[:]
    renamed.graph.initializer.extend(reverse)
    assert z(renamed) == pytest.approx(z(marked))


def test_a_transposed_weight_is_read_as_before(marked: onnx.ModelProto) -> None:
    turned = _copy(marked)
    for name in ("a", "b"):
        (tensor,) = (t for t in turned.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).T.copy(), name))
        for node in turned.graph.node:
            node.input[:] = [f"{name}_turned" if i == name else i for i in node.input]
        turned.graph.node.insert(0, helper.make_node("Transpose", [name], [f"{name}_turned"]))
    assert z(turned) == pytest.approx(z(marked))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_integers_are_dequantized_by_tensor_and_by_channel(
    marked: onnx.ModelProto, axis: int | None
) -> None:
    quantized = _copy(marked)
    for carrier in read_carriers(marked):
        _quantize_weight(quantized, carrier.name, axis)
    for new, old in zip(read_carriers(quantized), read_carriers(marked), strict=True):
        np.testing.assert_allclose(new.values, old.values, atol=0.01)
    assert z(quantized) > 15


def test_the_mark_survives_our_quantizer_with_convolutions_and_branches(
    marked: onnx.ModelProto,
) -> None:
    rows = np.random.default_rng(7).random((64, 1, 8, 8), np.float32)
    quantized = parse_model(quantize(marked.SerializeToString(), "x", rows))
    assert any(t.data_type == onnx.TensorProto.INT8 for t in quantized.graph.initializer)
    assert z(quantized) > 15


def test_a_weight_that_is_not_finite_is_refused(marked: onnx.ModelProto) -> None:
    broken = _copy(marked)
    _replace(broken, "a", np.full((128, 96), np.nan, np.float32))
    with pytest.raises(SealgateError) as refused:
        read_carriers(broken)
    assert refused.value.reason is Reason.FORMAT_REFUSED


def test_scales_that_do_not_fit_are_refused(marked: onnx.ModelProto) -> None:
    broken = _copy(marked)
    _quantize_weight(broken, "a", 1)
    _replace(broken, "a_scale", np.ones(7, np.float32))
    with pytest.raises(SealgateError) as refused:
        read_carriers(broken)
    assert refused.value.reason is Reason.FORMAT_REFUSED


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _replace(model: onnx.ModelProto, name: str, value: npt.NDArray[np.generic]) -> None:
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def _quantize_weight(model: onnx.ModelProto, name: str, axis: int | None) -> None:
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    values = numpy_helper.to_array(tensor)
    others = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    scale = (np.abs(values).max(axis=others, keepdims=True) / 127).astype(np.float32)
    integers = np.rint(values / scale).astype(np.int8)
    flat = scale.reshape(()) if axis is None else scale.ravel()
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(integers, f"{name}_q"),
            numpy_helper.from_array(flat, f"{name}_scale"),
            numpy_helper.from_array(np.zeros(flat.shape, np.int8), f"{name}_zero"),
        ]
    )
    model.graph.initializer.remove(tensor)
    parts = [f"{name}_q", f"{name}_scale", f"{name}_zero"]
    attributes = {} if axis is None else {"axis": axis}
    node = helper.make_node("DequantizeLinear", parts, [name], **attributes)
    model.graph.node.insert(0, node)
