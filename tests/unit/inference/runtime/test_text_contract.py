"""The contract of text response graphs, and the descriptions that text models may have."""

import json
from typing import Any

import onnx
import pytest

from inference.model.config import ModelConfig
from inference.runtime import response_contract
from inference.runtime.response_contract import ResponseShape, check_text_response_graph
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from tests.support.builders.models.text_models import FOLDER, config, source

RESPONSE = source().response


def altered(**changed: Any) -> onnx.ModelProto:
    """With the named inputs' and outputs' element types or sizes changed."""
    model = onnx.load_model_from_string(RESPONSE)
    for value in (*model.graph.input, *model.graph.output):
        change = changed.get(value.name)
        if isinstance(change, int):
            value.type.tensor_type.elem_type = change
        elif isinstance(change, list):
            del value.type.tensor_type.shape.dim[:]
            for size in change:
                dim = value.type.tensor_type.shape.dim.add()
                if size:
                    dim.dim_value = size
                else:
                    dim.dim_param = "n"
    return model


def test_a_text_model_s_graph_passes_and_tells_its_sizes() -> None:
    assert check_text_response_graph(RESPONSE, 2) == ResponseShape((32,), 2, 17)


@pytest.mark.parametrize(
    "changed",
    [
        {"input_ids": onnx.TensorProto.INT32},
        {"attention_mask": onnx.TensorProto.FLOAT},
        {"input_ids": [0, 32]},
        {"attention_mask": [4, 0]},
        {"label": [0, 0]},
        {"eps": [1]},
        {"x_adv": [0, 0]},
        {"x_adv": [0, 0, 0]},
        {"x_adv": [0, 7, 32]},
        {"logits": [0, 0]},
        {"features": [0, 0]},
    ],
)
def test_another_graph_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        check_text_response_graph(altered(**changed))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


def test_a_graph_of_other_classes_or_of_numbers_is_refused() -> None:
    for check in (
        lambda: check_text_response_graph(RESPONSE, 3),
        lambda: check_text_response_graph(source().serving),
        lambda: response_contract.check_response_graph(RESPONSE),
    ):
        with pytest.raises(SealgateError) as refused:
            check()
        assert refused.value.reason is Reason.GRAPH_MISMATCH


DOCUMENT = json.loads((FOLDER / "model.json").read_bytes())
TOKENS = {"name": "input_ids", "datatype": "INT64", "shape": [-1, -1]}


def test_a_text_model_s_description_is_written_and_read_alike() -> None:
    assert ModelConfig.decode(config().encode()) == config()
    assert config().encode() == canonical.encode(DOCUMENT)
    assert not config().blocks
    assert "domain" not in DOCUMENT
    blocking = config(blocks=True)
    assert ModelConfig.decode(blocking.encode()) == blocking
    column = ModelConfig.decode(
        canonical.encode(DOCUMENT | {"input": DOCUMENT["input"] | {"shape": [-1, 1]}})
    )
    assert column.is_text
    assert not ModelConfig.decode(canonical.encode(DOCUMENT | {"input": TOKENS})).is_text


@pytest.mark.parametrize(
    "changed",
    [
        {"domain": {"min": 0, "max": 1}},
        {"scaling": {"offset": [0], "scale": [1]}},
        {"tokens": None},
        {"input": {"name": "x", "datatype": "FP32", "shape": [-1, 4]}},
        {"input": TOKENS | {"name": "ids"}},
        {"input": TOKENS | {"shape": [-1, 32]}},
        {"input": TOKENS | {"datatype": "INT32"}},
        {"input": DOCUMENT["input"] | {"shape": [-1, 2]}},
        {"output": {"name": "logits", "datatype": "INT64", "shape": [-1, -1]}},
        {"screening": {"eps": 0.02, "blocks": False}},
        {"screening": {"eps": 0.02, "blocks": 1}},
        {"screening": {"eps": 0}},
    ],
)
def test_another_description_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(SealgateError) as refused:
        ModelConfig.decode(canonical.encode(DOCUMENT | changed))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_model_of_numbers_says_nothing_of_blocking() -> None:
    numbers = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    plain = {key: value for key, value in DOCUMENT.items() if key != "tokens"}
    plain |= {"input": numbers, "domain": {"min": 0, "max": 1}}
    assert ModelConfig.decode(canonical.encode(plain)).blocks
    with pytest.raises(SealgateError) as refused:
        ModelConfig.decode(canonical.encode(plain | {"screening": {"eps": 0.1, "blocks": True}}))
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED
