"""Weights that lie beside an ONNX file are put into it, and nothing else is."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference.runtime.session import Session
from publishing.ready import external_data
from publishing.ready.external_data import read_whole, weight_files, whole_of
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused

ROWS = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)

# Each starts workers.
SLOW = pytest.mark.slow


def model() -> onnx.ModelProto:
    """Two layers, one of which is a node's attribute."""
    draw = np.random.default_rng(1)
    w, v = (draw.normal(size=size).astype(np.float32) for size in ((30, 20), (20, 2)))
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Constant", [], ["v"], value=numpy_helper.from_array(v, "v")),
        helper.make_node("MatMul", ["h", "v"], ["z"]),
    ]
    x, z = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 30), ("z", 2))
    )
    graph = helper.make_graph(nodes, "two", [x], [z], [numpy_helper.from_array(w, "w")])
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def divided(folder: Path, name: str = "net.onnx.data") -> Path:
    """As onnx writes it."""
    path = folder / "net.onnx"
    onnx.save(
        model(),
        path,
        save_as_external_data=True,
        location=name,
        size_threshold=0,
        convert_attribute=True,
    )
    return path


def answers(data: bytes) -> np.ndarray:
    (found,) = Session.open(data, ["z"]).run({"x": ROWS})
    return np.asarray(found)


@pytest.mark.parametrize(
    "name",
    [
        "net.onnx.data",
        *(pytest.param(name, marks=SLOW) for name in ("model.onnx_data", "b2b1-11f1.data")),
    ],
)
def test_a_model_becomes_whole(tmp_path: Path, name: str) -> None:
    path = divided(tmp_path, name)
    assert len(path.read_bytes()) < 1000
    found = read_whole(path, Confinement())
    np.testing.assert_array_equal(answers(found), answers(model().SerializeToString()))
    assert weight_files(path) == [tmp_path / name]
    files = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert whole_of(files, "net.onnx", Confinement()) == found
    inner = {f"onnx/{name}": data for name, data in files.items()}
    assert whole_of(inner, "onnx/net.onnx", Confinement()) == found


def test_a_whole_model_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model().SerializeToString())
    (tmp_path / "other.data").write_bytes(b"x")
    assert read_whole(path, Confinement()) == path.read_bytes()
    assert weight_files(path) == []


def changed(path: Path, change: Callable[[onnx.TensorProto], None]) -> Path:
    found = onnx.load(path, load_external_data=False)
    change(found.graph.initializer[0])
    path.write_bytes(found.SerializeToString())
    return path


def stating(key: str, value: str) -> Callable[[onnx.TensorProto], None]:
    def change(tensor: onnx.TensorProto) -> None:
        kept = [(e.key, e.value) for e in tensor.external_data if e.key != key]
        del tensor.external_data[:]
        for name, said in (*kept, (key, value)):
            tensor.external_data.add(key=name, value=said)

    return change


@pytest.mark.parametrize(
    "name", ["../net.onnx.data", "/etc/shadow_data", "id_rsa", "inner/net.data", ".data", ""]
)
def test_other_files_are_not_read(tmp_path: Path, name: str) -> None:
    with refused(Reason.PATH_UNSAFE):
        read_whole(changed(divided(tmp_path), stating("location", name)), Confinement())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    path = divided(tmp_path / "model")
    data = path.with_name("net.onnx.data").rename(tmp_path / "outside.data")
    path.with_name("net.onnx.data").symlink_to(data)
    with refused(Reason.PATH_UNSAFE):
        read_whole(path, Confinement())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = divided(tmp_path)
    path.with_name("net.onnx.data").unlink()
    for read in (
        lambda: read_whole(path, Confinement()),
        lambda: whole_of({"net.onnx": path.read_bytes()}, "net.onnx", Confinement()),
    ):
        with refused(Reason.FILE_MISSING) as found:
            read()
        assert "net.onnx.data" in found.value.detail


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("offset", "-1"),
        pytest.param("offset", "99999999", marks=SLOW),
        pytest.param("offset", "a", marks=SLOW),
        pytest.param("length", "8", marks=SLOW),
        ("length", "99999999"),
        pytest.param("length", "-4", marks=SLOW),
    ],
)
def test_what_is_no_weight_is_refused(tmp_path: Path, key: str, value: str) -> None:
    with refused(Reason.FORMAT_REFUSED) as found:
        read_whole(changed(divided(tmp_path), stating(key, value)), Confinement())
    assert "the weight w is not in its file" in found.value.detail


def test_a_model_that_no_onnx_file_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_data, "LARGEST_FILE", 2000)
    with refused(Reason.FILE_TOO_LARGE):
        read_whole(divided(tmp_path), Confinement())
