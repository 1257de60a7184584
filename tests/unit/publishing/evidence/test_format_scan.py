"""The format scan: what it tells of good files, and that it passes no bad one."""

import pytest

from publishing.pipeline.build import format_scan
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from tests.support.builders.models.onnx_models import Perceptron, with_external_data

MODEL = Perceptron.random()


def test_a_graph_is_described_by_its_operators() -> None:
    files = format_scan({"model.json": b"{}", "model.onnx": MODEL.serving()})["files"]
    assert files["model.json"] == {"digest": sha256(b"{}"), "format": "json"}
    assert files["model.onnx"]["digest"] == sha256(MODEL.serving())
    assert files["model.onnx"]["operators"] == {
        "ai.onnx:Add": 2,
        "ai.onnx:MatMul": 2,
        "ai.onnx:Relu": 1,
    }
    assert files["model.onnx"]["opsets"] == {"ai.onnx": 20}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("model.pkl", b"\x80\x04K\x01.", Reason.FORMAT_REFUSED),
        ("model.onnx", b"\x80\x04K\x01.", Reason.FORMAT_REFUSED),
        ("model.onnx", with_external_data(MODEL.serving()), Reason.EXTERNAL_DATA),
        ("golden.safetensors", b"\x80\x04K\x01.", Reason.FORMAT_REFUSED),
    ],
)
def test_other_formats_are_refused(name: str, data: bytes, reason: Reason) -> None:
    with pytest.raises(SealgateError) as refused:
        format_scan({name: data})
    assert refused.value.reason is reason
