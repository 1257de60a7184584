"""`model.json` is read strictly."""

import json
from typing import Any

import pytest

from inference.model.config import InputScaling, ModelConfig
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from tests.support.builders.models.model_documents import DOCUMENT, model_config, written
from tests.support.builders.models.text_models import ready, version_files


def refuse(data: bytes, read: bool = False) -> None:
    with pytest.raises(SealgateError) as refused:
        (ModelConfig.read if read else ModelConfig.decode)(data)
    assert refused.value.reason is Reason.DOCUMENT_MALFORMED


def test_a_document_is_read_and_written_alike() -> None:
    config = model_config()
    assert ModelConfig.decode(config.encode()) == config
    assert config.encode() == canonical.encode(DOCUMENT)
    assert (config.input.row, config.labels, config.eps) == ((64,), ("0", "1"), 0.03)
    assert config.scaling is None


def test_a_scaling_may_be_stated() -> None:
    config = model_config(scaling={"offset": [0], "scale": [16]})
    assert config.scaling == InputScaling((0.0,), (16.0,))
    assert ModelConfig.decode(config.encode()) == config


def test_rows_may_be_images() -> None:
    config = model_config(screening={"eps": 0.03, "image": [4, 8]})
    assert config.image == (4, 8)
    assert ModelConfig.decode(config.encode()) == config


def images(row: list[int]) -> dict[str, Any]:
    given = {"name": "x", "datatype": "FP32", "shape": [-1, *row]}
    return {"input": given, "screening": {"eps": 0.03, "image": [4, 8]}}


@pytest.mark.parametrize("row", [[4, 8], [3, 4, 8], [4, 8, 1], [96]])
def test_an_images_pixels_lie_one_behind_the_other(row: list[int]) -> None:
    assert model_config(**images(row)).image == (4, 8)


@pytest.mark.parametrize("row", [[4, 8, 3], [32, 3], [8, 3, 4]])
def test_images_whose_channels_come_last_are_refused(row: list[int]) -> None:
    """Read as channel by channel, their pixels would be scrambled."""
    refuse(written(**images(row)), read=True)


def test_only_canonical_bytes_are_a_version_s() -> None:
    refuse(written())
    refuse(model_config().encode() + b"\n")
    ModelConfig.read(written())


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"null", b'"type"', b"[" * 100_000])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    refuse(data)
    refuse(data, read=True)


def test_a_member_given_twice_is_refused() -> None:
    refuse(written()[:-1] + b', "name": "other"}', read=True)


@pytest.mark.parametrize("member", sorted(DOCUMENT))
def test_every_member_is_needed(member: str) -> None:
    refuse(canonical.encode({key: value for key, value in DOCUMENT.items() if key != member}))


@pytest.mark.parametrize(
    "changes",
    [
        {"surplus": 1},
        {"type": "sealgate/model/v2"},
        {"name": "Digits"},
        {"name": "../digits"},
        {"description": 7},
        {"data": {"name": "Digits"}},
        {"input": {"name": "", "datatype": "FP32", "shape": [-1, 64]}},
        {"input": {"name": "x\n", "datatype": "FP32", "shape": [-1, 64]}},
        {"input": {"name": "x", "datatype": "INT8", "shape": [-1, 64]}},
        {"input": {"name": "x", "datatype": "FP32", "shape": [-1]}},
        {"input": {"name": "x", "datatype": "FP32", "shape": [1, 64]}},
        {"input": {"name": "x", "datatype": "FP32", "shape": [-1, 0]}},
        {"input": {"name": "x", "datatype": "FP32", "shape": [-1, -1]}},
        {"input": {"name": "x", "datatype": "FP32", "shape": [-1, True]}},
        {"input": {"name": "x", "datatype": "FP32", "shape": [-1, 65536, 65536]}},
        {"output": {"name": "logits", "datatype": "FP32", "shape": [-1, 3]}},
        {"output": {"name": "logits", "datatype": "FP32", "shape": [-1, 2, 1]}},
        {"labels": ["0", "0"]},
        {"labels": ["0"], "output": {"name": "logits", "datatype": "FP32", "shape": [-1, 1]}},
        {"domain": {"min": 1, "max": 1}},
        {"domain": {"min": 0, "max": "1"}},
        {"screening": {"eps": 0}},
        {"screening": {"eps": 2}},
        {"screening": {"eps": True}},
        {"screening": {"eps": 0.03, "image": [8]}},
        {"screening": {"eps": 0.03, "image": [8, 9]}},
        {"screening": {"eps": 0.03, "image": [64, 1]}},
        {"screening": {"eps": 0.03, "image": None}},
        {"batching": {"max_rows": 0, "delay_us": 300, "queue_rows": 4096}},
        {"batching": {"max_rows": 64, "delay_us": 300, "queue_rows": 63}},
        {"batching": {"max_rows": 64, "delay_us": -1, "queue_rows": 4096}},
        {"batching": {"max_rows": 64, "delay_us": 1_000_001, "queue_rows": 4096}},
        {"scaling": {"offset": [0, 0], "scale": [1, 1]}},
        {"scaling": {"offset": [0], "scale": [0]}},
        {"scaling": {"offset": [], "scale": []}},
        {"scaling": None},
    ],
)
def test_a_document_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    refuse(canonical.encode(DOCUMENT | changes))
    refuse(json.dumps(DOCUMENT | changes).encode(), read=True)


def test_numbers_must_be_finite() -> None:
    refuse(written().replace(b"0.03", b"NaN"), read=True)
    refuse(written().replace(b"0.03", b"1e999"), read=True)


def model_json(**tokens: Any) -> bytes:
    document = json.loads(version_files()["model.json"])
    document["tokens"] |= tokens
    return ModelConfig.read(json.dumps(document).encode()).encode()


def test_a_vocabulary_beyond_the_embeddings_is_refused() -> None:
    ready(model_json=model_json(vocabulary=128))
    with pytest.raises(SealgateError) as refused:
        ready(model_json=model_json(vocabulary=129))
    assert refused.value.reason is Reason.GRAPH_MISMATCH
