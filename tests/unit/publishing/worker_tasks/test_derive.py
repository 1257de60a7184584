"""An INT8 model that does not follow from its float32 one is found out, whatever it states."""

from collections.abc import Callable

import onnx
import pytest
from onnx import numpy_helper

from inference.engine import version_contents
from inference.model.golden import Golden
from publishing.quantization import quantize, stated_ranges
from publishing.serialization import parse_model, serialize_model
from publishing.worker_tasks.derivation import derive
from registry.sandbox.confinement import Confinement, SandboxLimits
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows, int8_logits

PERCEPTRON = Perceptron.random(3, inputs=64, hidden=256, classes=10)
ROWS = clean_rows(PERCEPTRON, 300)
INT8 = quantize(PERCEPTRON.serving(), "x", ROWS)
CONFINEMENT = Confinement(SandboxLimits(memory=4 << 30, seconds=60))


def files(int8: bytes = INT8, fp32: bytes | None = None) -> dict[str, bytes]:
    made = VersionFiles.of(PERCEPTRON)
    golden = Golden(ROWS[:8], int8_logits(PERCEPTRON, ROWS[:8]))
    found = {**made.encode(), version_contents.INT8: int8, version_contents.GOLDEN: golden.encode()}
    return found if fp32 is None else {**found, version_contents.FP32: fp32}


def reason(of: dict[str, bytes]) -> SealgateError:
    with pytest.raises(SealgateError) as caught:
        derive(of, None, "", CONFINEMENT)
    return caught.value


def test_stated_ranges_give_the_same_bytes_on_any_rows() -> None:
    ranges = stated_ranges(INT8)
    assert len(ranges) == 2
    other = clean_rows(PERCEPTRON, 3, seed=9)
    assert quantize(PERCEPTRON.serving(), "x", other) != INT8
    assert quantize(PERCEPTRON.serving(), "x", other, ranges) == INT8


def test_a_model_that_follows() -> None:
    assert derive(files(), None, "", CONFINEMENT).digest == sha256(INT8)


def altered(change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = parse_model(INT8)
    change(model)
    return serialize_model(model)


def one_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "w1_quantized")
    values = numpy_helper.to_array(tensor).copy()
    values.flat[5] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def another_operator(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type = "Tanh"


def test_one_weight_that_differs_is_named() -> None:
    refusal = reason(files(altered(one_weight)))
    assert refusal.reason is Reason.DERIVATION_MISMATCH
    assert refusal.detail == "1 of 16 tensors differ: w1_quantized"


def test_another_operator_shows() -> None:
    assert reason(files(altered(another_operator))).reason is Reason.DERIVATION_MISMATCH


def test_another_float32_model_shows() -> None:
    other = Perceptron.random(4, inputs=64, hidden=256, classes=10).serving()
    assert reason(files(fp32=other)).reason is Reason.DERIVATION_MISMATCH


def test_a_range_that_is_no_constant_is_refused() -> None:
    def compute(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
        node.input[1] = "x"

    with pytest.raises(SealgateError) as caught:
        stated_ranges(altered(compute))
    assert caught.value.reason is Reason.FORMAT_REFUSED
