"""Quantization: the same bytes every time, integers inside, answers that stay."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from publishing.quantization import quantize
from publishing.serialization import parse_model, serialize_model
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from tests.support.builders.models.demo_models import opened
from tests.support.builders.models.onnx_models import Perceptron, with_external_data

MODEL = Perceptron.random(3, inputs=64, hidden=256, classes=10)
ROWS = np.random.default_rng(7).random((300, 64), np.float32)
_ELSEWHERE = """
import sys
import numpy as np
from publishing.quantization import quantize
from sealgate.trust.canonical import sha256
rows = np.random.default_rng(7).random((300, 64), np.float32)
print(sha256(quantize(sys.stdin.buffer.read(), "x", rows)))
"""


def run(model: bytes, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"x": rows})[0])


def test_weights_become_integers_of_seven_bits() -> None:
    tensors = parse_model(quantize(MODEL.serving(), "x", ROWS)).graph.initializer
    integers = [t for t in tensors if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2]
    assert sorted(int(np.prod(t.dims)) for t in integers) == [256 * 10, 64 * 256]
    for tensor in integers:
        assert np.abs(onnx.numpy_helper.to_array(tensor)).max() <= 64


def test_answers_stay_close_and_do_not_depend_on_the_batch() -> None:
    int8 = quantize(MODEL.serving(), "x", ROWS)
    answers = run(int8, ROWS)
    expected = MODEL.logits(ROWS)
    assert np.mean(answers.argmax(axis=1) == expected.argmax(axis=1)) > 0.9
    alone = np.concatenate([run(int8, row[np.newaxis]) for row in ROWS[:20]])
    np.testing.assert_array_equal(alone, answers[:20])


def test_another_process_with_other_hashes_gives_the_same_bytes() -> None:
    digests = {sha256(quantize(MODEL.serving(), "x", ROWS))}
    root = Path(__file__).parents[3]
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", _ELSEWHERE],
            input=MODEL.serving(),
            capture_output=True,
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            check=True,
            timeout=60,
        )
        digests.add(done.stdout.decode().strip())
    assert len(digests) == 1


def test_nothing_of_this_machine_is_left_in_the_file(tmp_path: Path) -> None:
    noted = parse_model(MODEL.serving())
    noted.graph.node[0].doc_string = str(tmp_path)
    noted.metadata_props.add(key="trace", value=str(tmp_path))
    data = quantize(noted.SerializeToString(), "x", ROWS)
    assert data == quantize(MODEL.serving(), "x", ROWS)
    assert tempfile.gettempdir().encode() not in data
    assert serialize_model(noted) == serialize_model(parse_model(MODEL.serving()))
    assert {entry.domain for entry in parse_model(data).opset_import} == {""}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xff", Reason.FORMAT_REFUSED),
        (with_external_data(MODEL.serving()), Reason.EXTERNAL_DATA),
    ],
)
def test_what_is_no_whole_model_is_refused(data: bytes, reason: Reason) -> None:
    with pytest.raises(SealgateError) as refused:
        quantize(data, "x", ROWS)
    assert refused.value.reason is reason


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        quantize(MODEL.serving(), "x", ROWS[:, :5])
    assert refused.value.reason is Reason.FORMAT_REFUSED


SIDE, KINDS, CLASSES = 8, 4, 3


def of_pixels() -> bytes:
    """Rows of pixels, as images to a convolution."""
    generator = np.random.default_rng(1)
    head = generator.normal(size=(KINDS * SIDE * SIDE, CLASSES)).astype(np.float32)
    tensors = [
        numpy_helper.from_array(value, name)
        for name, value in (
            ("shape", np.array([-1, 1, SIDE, SIDE], np.int64)),
            ("kernels", generator.normal(size=(KINDS, 1, 3, 3)).astype(np.float32)),
            ("head", head),
        )
    ]
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["image"]),
        helper.make_node("Conv", ["image", "kernels"], ["kinds"], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["kinds"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", SIDE * SIDE), ("logits", CLASSES))
    ]
    graph = helper.make_graph(nodes, "pixels", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_a_graph_with_a_constant_shape_is_quantized() -> None:
    model, x = of_pixels(), np.random.default_rng(2).random((64, SIDE * SIDE), np.float32)
    before, after = (
        opened(graph).run(None, {"x": x})[0].argmax(axis=1)
        for graph in (model, quantize(model, "x", x))
    )
    assert np.mean(before == after) > 0.9
