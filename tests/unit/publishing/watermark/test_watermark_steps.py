"""A mark for integers alone: whole steps, on chosen weights."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from publishing.quantization import quantize
from publishing.serialization import parse_model
from publishing.watermark.detection import read_code, weights_of
from publishing.watermark.file_marking import mark_integers
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.marked import KEY
from tests.support.builders.models.onnx_models import Perceptron

MODEL = Perceptron.random(3, inputs=256, hidden=1024, classes=10)
ROWS = np.random.default_rng(7).random((128, 256), np.float32)
CODE = KEY.presence(b"step")


@pytest.fixture(scope="module")
def int8() -> bytes:
    return quantize(MODEL.serving(), "x", ROWS)


def integers(model: bytes) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor).astype(int)
        for tensor in parse_model(model).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    }


def test_steps_of_one_carry_a_mark(int8: bytes) -> None:
    marked, found = mark_integers(int8, CODE)
    assert read_code(weights_of("model.onnx", int8), CODE, found.slots).z < 6
    assert read_code(weights_of("model.onnx", marked), CODE, found.slots).z > 15
    before, after = integers(int8), integers(marked)
    assert before.keys() == after.keys()
    steps = [after[name] - before[name] for name in before]
    assert max(np.abs(step).max() for step in steps) == 1
    # Chosen ones: most stay as they were.
    assert 0 < np.mean(np.concatenate([step.ravel() for step in steps]) != 0) < 0.9
    for name, values in before.items():
        assert after[name].min() >= values.min()
        assert after[name].max() <= values.max()


def test_it_is_the_same_each_time(int8: bytes) -> None:
    assert mark_integers(int8, CODE)[0] == mark_integers(int8, CODE)[0]


def test_a_mark_beyond_steps_of_one_is_refused(int8: bytes) -> None:
    with pytest.raises(SealgateError) as refused:
        mark_integers(int8, CODE, target=60)
    assert refused.value.reason is Reason.WATERMARK_CAPACITY


def test_a_model_without_integers_is_refused() -> None:
    with pytest.raises(SealgateError) as refused:
        mark_integers(MODEL.serving(), CODE)
    assert refused.value.reason is Reason.WATERMARK_CAPACITY
