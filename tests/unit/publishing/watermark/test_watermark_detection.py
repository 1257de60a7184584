"""Reading any file: number formats, layouts, names that are gone; and files that are none."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper, parser
from safetensors.numpy import save

from publishing.watermark.carrier_weights import read_carriers
from publishing.watermark.detection import (
    FileWeights,
    MarkDetection,
    detect_named,
    detection_of,
    read_code,
    read_payloads,
    weights_of,
)
from publishing.watermark.file_marking import mark_file
from publishing.watermark.graph_marking import spread_mark
from publishing.watermark.safetensors_file import TensorFile
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.marked import KEY, Floats, mark, marked, network, safetensors_bytes

MARKED, RECORD = marked(network())
PAYLOAD = RECORD.mark.payload


def read(weights: FileWeights) -> MarkDetection:
    return read_code(weights, RECORD.code, RECORD.slots)


def tensors(values: dict[str, npt.NDArray[np.generic]]) -> FileWeights:
    return weights_of("model.safetensors", safetensors_bytes(values))


def rows(values: Floats) -> Floats:
    return values.reshape(len(values), -1)


def scales(values: Floats, top: int) -> Floats:
    return np.abs(rows(values)).max(axis=1) / np.float32(top)


def int8(values: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """By output channel."""
    scale = scales(values, 127)
    return np.rint(rows(values) / scale[:, None]).astype(np.int8).reshape(values.shape), scale


def int4(values: Floats, block: int = 32) -> tuple[npt.NDArray[np.uint8], Floats]:
    """By blocks of a row, two to a byte, the low half first; 8 is zero."""
    blocks = values.reshape(len(values), -1, block)
    scale = np.abs(blocks).max(axis=2) / np.float32(7)
    levels = (np.rint(blocks / scale[:, :, None]) + 8).astype(np.uint8).reshape(len(values), -1)
    return levels[:, ::2] | levels[:, 1::2] << 4, scale


def test_the_payload_is_carried_with_its_margin() -> None:
    found = read(tensors(dict(MARKED)))
    assert (found.bits, found.bit_errors) == (64, 0)
    assert found.z > 47
    assert read_payloads(tensors(dict(MARKED)), KEY, RECORD.slots) == (PAYLOAD,)
    assert PAYLOAD not in read_payloads(tensors(dict(network())), KEY, RECORD.slots)


def test_weights_are_read_one_by_one_where_they_have_their_names() -> None:
    weights = dict(MARKED)
    whole = detect_named(weights.items(), RECORD.slots, RECORD.code)
    together = detection_of(tensors(weights).named(RECORD.slots), RECORD.code, 0.0)
    assert (whole.weights, whole.bit_errors) == (together.weights, 0)
    assert whole.z == pytest.approx(together.z)
    first = RECORD.slots[0].name
    renamed = {("other" if name == first else name): values for name, values in weights.items()}
    fewer = detect_named(renamed.items(), RECORD.slots, RECORD.code)
    turned = {**weights, first: np.ascontiguousarray(weights[first].T)}
    assert detect_named(turned.items(), RECORD.slots, RECORD.code) == fewer
    assert fewer.z < whole.z


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_half_precision(kind: npt.DTypeLike) -> None:
    found = read(tensors({name: value.astype(kind) for name, value in MARKED.items()}))
    assert found.z > 40
    assert found.bit_errors == 0


@pytest.mark.parametrize("ending", ["_scale", ".scale"])
def test_int8_by_channel(ending: str) -> None:
    values: dict[str, npt.NDArray[np.generic]] = {}
    for name, value in MARKED.items():
        values[name], values[name + ending] = int8(value)
    found = read(tensors(values))
    assert found.z > 45
    assert found.bit_errors == 0


def test_int8_by_tensor_needs_no_scale() -> None:
    values = {}
    for name, value in MARKED.items():
        values[name] = np.rint(value / (np.abs(value).max() / 127)).astype(np.int8)
    assert read(tensors(dict(values))).z > 45


def test_int4_by_blocks() -> None:
    values: dict[str, npt.NDArray[np.generic]] = {"conv": MARKED["conv"]}
    for name in ("first", "second", "third", "last"):
        values[f"{name}.qweight"], values[f"{name}.scales"] = int4(MARKED[name])
    found = read(tensors(values))
    assert found.z > 40
    assert found.bit_errors == 0


def test_names_are_not_needed() -> None:
    renamed = {f"t{n}": value for n, value in enumerate(MARKED.values())}
    assert read(tensors(dict(renamed))).z > 45


def test_neither_names_nor_order_nor_layout_are_needed() -> None:
    lost = {
        f"t{n}": np.ascontiguousarray(value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T)
        for n, value in enumerate(reversed(MARKED.values()))
    }
    found = read(tensors(dict(lost)))
    assert found.z > 44
    assert found.bit_errors == 0


def test_kept_names_tell_the_layout_of_square_matrices() -> None:
    square = {"one": network()["first"][:192], "two": network(1)["first"][:192]}
    moved, record = marked({**network(), **square})
    turned = {
        name: value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        for name, value in moved.items()
    }
    slots = record.slots
    assert read_code(tensors(dict(moved)), record.code, slots).z > 45
    renamed = {f"t{n}": np.ascontiguousarray(v) for n, v in enumerate(turned.values())}
    assert read_code(tensors(dict(renamed)), record.code, slots).z > 44


def test_a_part_of_the_weights_is_enough() -> None:
    found = read(tensors({name: MARKED[name] for name in ("second", "third")}))
    assert found.z > 25


def test_weights_that_a_rewritten_graph_hides_are_found_by_shape() -> None:
    # One weight for queries, keys and values together would be lost; these two are only renamed
    # and read by an operator that we do not know.
    text = """
    <ir_version: 9, opset_import: ["" : 20, "com.example" : 1]>
    fused (float[n, 192] x) => (float[n, 192] y) { y = com.example.Fused(x, a, b, c) }
    """
    model = parser.parse_model(text)
    for name, value in zip(
        "abc", (MARKED["first"], MARKED["second"], MARKED["third"]), strict=True
    ):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value.T), name))
    assert read(weights_of("fused.onnx", model.SerializeToString())).z > 35


@pytest.mark.parametrize("kind", ["blocks", "MatMulNBits", "fp16", "MatMulInteger"])
def test_forms_of_onnx(kind: str) -> None:
    found = read(weights_of("model.onnx", _graph(kind).SerializeToString()))
    assert found.z > 25
    assert found.weights == sum(MARKED[name].size for name in ("first", "second", "third"))


@pytest.mark.parametrize("kind", ["int4", "bytes", "bytes with zero points"])
def test_embeddings_in_blocks(kind: str) -> None:
    """One more matrix than the chain has, looked up by rows, as its three forms are stored."""
    model = _graph("blocks")
    value = MARKED["last"]
    packed, scale = int4(value)
    table = numpy_helper.from_array(packed, "table")
    zeros = np.full((len(value), scale.shape[1] // 2), 0x88, np.uint8)
    if kind == "int4":
        levels = np.stack([packed & 15, packed >> 4], axis=2).reshape(value.shape).astype(int) - 8
        table = helper.make_tensor("table", onnx.TensorProto.INT4, value.shape, levels.ravel())
    model.graph.initializer.extend([table, numpy_helper.from_array(scale, "scales")])
    given = ["table", "ids", "scales"]
    if "zero" in kind:
        model.graph.initializer.append(numpy_helper.from_array(zeros, "zeros"))
        given.append("zeros")
    row = onnx.TensorProto.INT64, ["n"]
    model.graph.input.append(helper.make_tensor_value_info("ids", *row))
    look = "GatherBlockQuantized", given, ["rows"]
    model.graph.node.append(helper.make_node(*look, domain="com.microsoft", block_size=32))
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Add", [last, "rows"], ["answer"]))
    model.graph.output[0].name = "answer"
    found = read_carriers(model)[-1]
    assert found.name == "table"
    assert np.abs(found.values - value).max() < np.abs(value).max() / 7


def _graph(kind: str) -> onnx.ModelProto:
    """A chain of three products, x [n, 192] to y [n, 256], with the weights in one form."""
    nodes, tensors_, last = [], [], "x"
    for name in ("first", "second", "third"):
        value = MARKED[name]
        out = f"{name}_out"
        nodes += _product(kind, name, value, last, out, tensors_)
        last = out
    shape = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 192])
    answer = helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, ["n", 256])
    graph = helper.make_graph(nodes, "chain", [shape], [answer], tensors_)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _product(
    kind: str, name: str, value: Floats, last: str, out: str, into: list[onnx.TensorProto]
) -> list[onnx.NodeProto]:
    if kind == "fp16":
        into.append(numpy_helper.from_array(value.T.astype(np.float16), name))
        cast = helper.make_node("Cast", [name], [f"{name}_f"], to=onnx.TensorProto.FLOAT)
        return [cast, helper.make_node("MatMul", [last, f"{name}_f"], [out])]
    packed, scale = int4(value)
    if kind == "MatMulNBits":
        blocks = packed.reshape(len(value), -1, 16)
        into.append(numpy_helper.from_array(blocks, f"{name}_Q4"))
        into.append(numpy_helper.from_array(scale.reshape(-1), f"{name}_scales"))
        node = helper.make_node(
            "MatMulNBits",
            [last, f"{name}_Q4", f"{name}_scales"],
            [out],
            domain="com.microsoft",
            K=value.shape[1],
            N=value.shape[0],
            bits=4,
            block_size=32,
        )
        return [node]
    if kind == "blocks":
        levels = np.stack([packed & 15, packed >> 4], axis=2).reshape(value.shape).astype(int) - 8
        tensor = helper.make_tensor(name, onnx.TensorProto.INT4, value.T.shape, levels.T.ravel())
        into += [tensor, numpy_helper.from_array(scale.T.copy(), f"{name}_scale")]
        inputs, made = [name, f"{name}_scale"], [f"{name}_f"]
        whole = helper.make_node("DequantizeLinear", inputs, made, axis=0, block_size=32)
        return [whole, helper.make_node("MatMul", [last, f"{name}_f"], [out])]
    integers, scale = int8(value)
    into.append(numpy_helper.from_array(integers.T.copy(), f"{name}_quantized"))
    into.append(numpy_helper.from_array(scale, f"{name}_scale"))
    round_ = helper.make_node("DynamicQuantizeLinear", [last], [f"{out}_q", f"{out}_s", f"{out}_z"])
    product = helper.make_node(
        "MatMulInteger", [f"{out}_q", f"{name}_quantized", f"{out}_z"], [f"{out}_i"]
    )
    back = helper.make_node("Cast", [f"{out}_i"], [out], to=onnx.TensorProto.FLOAT)
    return [round_, product, back]


def test_a_safetensors_file_is_marked_tensor_by_tensor(tmp_path: Path) -> None:
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    plain: dict[str, npt.NDArray[np.generic]] = {**network(), "bias": np.ones(9, np.float32)}
    source.write_bytes(safetensors_bytes(plain))
    found = mark_file(source, target, lambda hosts: spread_mark(hosts, mark()), {"note": "a copy"})
    weights = weights_of(target.name, target.read_bytes())
    assert read_code(weights, found.spreading.code, found.slots).bit_errors == 0
    written = TensorFile.parse(np.frombuffer(target.read_bytes(), np.uint8))
    assert written.metadata == {"note": "a copy"}
    assert np.array_equal(written.tensor("bias"), plain["bias"])
    with pytest.raises(FileExistsError):
        mark_file(source, target, lambda hosts: spread_mark(hosts, mark()), {})


def test_another_architecture_reads_nothing() -> None:
    other = {"w": np.random.default_rng(1).standard_normal((100, 80)).astype(np.float32)}
    found = read(tensors(dict(other)))
    assert (found.z, found.weights, found.found) == (0.0, 0, False)


def test_a_wrong_key_reads_nothing() -> None:
    wrong = mark(key=type(KEY)("digits", bytes(32)))
    found = read_code(tensors(dict(MARKED)), wrong.code(worded=True), RECORD.slots)
    assert found.z < 6
    assert found.log10_bound > -8


def test_a_tensor_of_zeros_is_passed_over() -> None:
    found = read(tensors({**MARKED, "second": np.zeros_like(MARKED["second"])}))
    assert found.found
    assert found.weights == sum(v.size for n, v in MARKED.items() if n != "second")
    nothing = read(tensors({name: np.zeros_like(value) for name, value in MARKED.items()}))
    assert (nothing.z, nothing.weights, nothing.found) == (0.0, 0, False)


def test_nan_is_refused() -> None:
    broken = {**MARKED, "second": np.full_like(MARKED["second"], np.nan)}
    assert refusal("model.safetensors", save(broken)) is Reason.FORMAT_REFUSED


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "model.bin"])
@pytest.mark.parametrize("data", [b"", b"\x08", b"PK\x03\x04 no model", bytes(64)])
def test_what_is_no_model_is_refused(name: str, data: bytes) -> None:
    assert refusal(name, data) is Reason.FORMAT_REFUSED


@pytest.mark.parametrize("keep", [4, 100, 5000])
def test_what_is_cut_short_is_refused(keep: int) -> None:
    assert refusal("model.safetensors", save(MARKED)[:keep]) is Reason.FORMAT_REFUSED
    model = _graph("fp16").SerializeToString()
    assert refusal("model.onnx", model[: len(model) - keep]) is Reason.FORMAT_REFUSED


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2]},
        [],
    ],
)
def test_a_header_that_lies_is_refused(entry: object) -> None:
    text = json.dumps({"a": entry}).encode()
    data = len(text).to_bytes(8, "little") + text + bytes(8)
    assert refusal("model.safetensors", data) is Reason.FORMAT_REFUSED


def test_scales_that_fit_nothing_are_refused() -> None:
    integers, scale = int8(MARKED["first"])
    data = safetensors_bytes({"first": integers, "first_scale": scale[:7]})
    assert refusal("model.safetensors", data) is Reason.FORMAT_REFUSED


def refusal(name: str, data: bytes) -> Reason:
    with pytest.raises(SealgateError) as refused:
        weights_of(name, data)
    return refused.value.reason
