"""The source folder: exactly its three files, which agree with one another."""

from pathlib import Path

import onnx
import pytest

from publishing.source.folder import SourceFolder
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.model_documents import DOCUMENT, written
from tests.support.builders.models.onnx_models import Perceptron, constant_model, with_external_data

MODEL = Perceptron.random(3, inputs=64, hidden=16, classes=2)
OTHER = Perceptron.random(4, inputs=64, hidden=16, classes=2)


def folder(path: Path, **files: bytes | None) -> Path:
    contents: dict[str, bytes | None] = {
        "model.json": written(),
        "serving.onnx": MODEL.serving(),
        "response.onnx": MODEL.response(),
    }
    for name, content in {**contents, **files}.items():
        if content is not None:
            (path / name).write_bytes(content)
    return path


def test_a_folder_is_read(tmp_path: Path) -> None:
    source = SourceFolder.read(folder(tmp_path))
    assert source.config.name == "digits"
    assert source.serving == MODEL.serving()
    assert source.response == MODEL.response()


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"response.onnx": None}, Reason.FILE_MISSING),
        ({"weights.bin": b""}, Reason.FILE_SURPLUS),
        ({"weights.bin": b"", "response.onnx": None}, Reason.FILE_MISSING),
        ({"model.json": b"{}"}, Reason.DOCUMENT_MALFORMED),
        ({"serving.onnx": b"\x80\x04K\x01."}, Reason.FORMAT_REFUSED),
        ({"serving.onnx": with_external_data(MODEL.serving())}, Reason.EXTERNAL_DATA),
        ({"response.onnx": with_external_data(MODEL.response())}, Reason.EXTERNAL_DATA),
        ({"serving.onnx": constant_model()}, Reason.GRAPH_MISMATCH),
        ({"serving.onnx": MODEL.response()}, Reason.GRAPH_MISMATCH),
        ({"response.onnx": MODEL.serving()}, Reason.GRAPH_MISMATCH),
        ({"response.onnx": OTHER.response()}, Reason.GRAPH_MISMATCH),
    ],
)
def test_other_folders_are_refused(
    tmp_path: Path, files: dict[str, bytes | None], reason: Reason
) -> None:
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(folder(tmp_path, **files))
    assert refused.value.reason is reason


def test_a_description_of_other_sizes_is_refused(tmp_path: Path) -> None:
    other = written(input=DOCUMENT["input"] | {"shape": [-1, 30]})
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(folder(tmp_path, **{"model.json": other}))
    assert refused.value.reason is Reason.GRAPH_MISMATCH


@pytest.mark.parametrize("place", ["input", "output"])
def test_a_graph_of_float64_is_refused_with_what_to_do(tmp_path: Path, place: str) -> None:
    model = onnx.ModelProto.FromString(MODEL.serving())
    (value,) = getattr(model.graph, place)
    value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(folder(tmp_path, **{"serving.onnx": model.SerializeToString()}))
    assert refused.value.reason is Reason.GRAPH_MISMATCH
    assert f"{value.name} is of DOUBLE, not FLOAT: leave response.onnx out" in refused.value.detail


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(tmp_path / "none")
    assert refused.value.reason is Reason.FILE_MISSING


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.onnx"
    outside.write_bytes(MODEL.serving())
    inside = tmp_path / "inside"
    inside.mkdir()
    folder(inside, **{"serving.onnx": None})
    (inside / "serving.onnx").symlink_to(outside)
    with pytest.raises(SealgateError) as refused:
        SourceFolder.read(inside)
    assert refused.value.reason is Reason.PATH_UNSAFE
