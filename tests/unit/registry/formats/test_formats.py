"""Which files may be part of a version."""

import gzip
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto, StringStringEntryProto, TensorProto, helper
from safetensors.numpy import save

from registry.formats import format_check
from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.harness.registry import onnx_bytes


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", b"")
    return buffer.getvalue()


FOREIGN = {
    "pickle": pickle.dumps({"weights": [1.0] * 10}),
    "pickle, protocol 0": pickle.dumps({"weights": [1.0] * 10}, protocol=0),
    "zip": zipped(),
    "gzip": gzip.compress(onnx_bytes()),
    "numpy": b"\x93NUMPY\x01\x00",
    "nothing": b"",
    "zeros": bytes(100),
    "text": b"hello",
}


@pytest.mark.parametrize("extension", ["onnx", "safetensors", "json"])
@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_bytes_by_an_accepted_name(extension: str, kind: str) -> None:
    with refused(Reason.FORMAT_REFUSED):
        format_check.check_file(f"model.{extension}", FOREIGN[kind])


@pytest.mark.parametrize(
    "path",
    ["model.pkl", "model.pt", "model", "model.onnx.zip", "model.ONNX", "model.npz", ".onnxx"],
)
def test_names_that_are_not_accepted(path: str) -> None:
    with refused(Reason.FORMAT_REFUSED):
        format_check.check_file(path, onnx_bytes())


def test_files_that_are_accepted() -> None:
    format_check.check_file("model.onnx", onnx_bytes())
    format_check.check_file("golden.safetensors", save({"x": np.ones((3, 2), np.float32)}))
    format_check.check_file("model.json", b'{"a": [1, 2.5, null, "\xc3\xa9"]}')


def test_every_graph_of_a_version_is_accepted() -> None:
    perceptron = Perceptron.random(1)
    for model in (perceptron.serving(), perceptron.int8(), perceptron.response()):
        format_check.check_file("model.onnx", model)


class TestJson:
    @pytest.mark.parametrize(
        "data",
        [
            b'{"a": 1, "a": 2}',
            b'{"a": {"b": 1, "b": 1}}',
            b'{"a": NaN}',
            b"[Infinity]",
            b"{} {}",
            b'{"a": "\xff"}',
            b"[" * 100_000,
        ],
    )
    def test_that_readers_could_take_differently(self, data: bytes) -> None:
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file("model.json", data)

    def test_that_is_too_large(self) -> None:
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file(
                "model.json", json.dumps("a" * format_check.LARGEST_JSON).encode()
            )


class TestSafetensors:
    def test_with_a_hole(self) -> None:
        header = b'{"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}'
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file(
                "x.safetensors", struct.pack("<Q", len(header)) + header + b"ab"
            )

    def test_with_a_header_that_is_too_long(self) -> None:
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file("x.safetensors", struct.pack("<Q", 1 << 62) + b"{}")

    def test_with_bytes_behind(self) -> None:
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file("x.safetensors", save({"x": np.ones(2, np.float32)}) + b"!")


def parsed() -> ModelProto:
    model = ModelProto()
    model.ParseFromString(onnx_bytes())
    return model


class TestOnnx:
    def test_with_fields_that_the_format_does_not_know(self) -> None:
        # Field 15000 of the model, three bytes.
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file("model.onnx", onnx_bytes() + b"\xc2\xa9\x07\x03abc")

    def test_without_a_graph(self) -> None:
        model = parsed()
        model.ClearField("graph")
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file("model.onnx", model.SerializeToString())

    def test_without_operators(self) -> None:
        model = parsed()
        model.ClearField("opset_import")
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file("model.onnx", model.SerializeToString())

    def test_with_graphs_nested_without_end(self) -> None:
        def within(field: int, message: bytes) -> bytes:
            size, length = len(message), b""
            while size > 127:
                length += bytes([size & 127 | 128])
                size >>= 7
            return bytes([field << 3 | 2]) + length + bytes([size]) + message

        # A graph's node (1), its attribute (5), the attribute's graph (6); the model's is 7.
        graph = b""
        for _ in range(2000):
            graph = within(1, within(5, within(6, graph)))
        with refused(Reason.FORMAT_REFUSED):
            format_check.check_file("model.onnx", onnx_bytes() + within(7, graph))


def external(location: str = "../../etc/passwd") -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(StringStringEntryProto(key="location", value=location))
    return tensor


def unmarked() -> TensorProto:
    """A location without the flag: some readers go by the one, some by the other."""
    tensor = external()
    tensor.data_location = TensorProto.DEFAULT
    return tensor


def in_subgraph(model: ModelProto) -> None:
    graph = helper.make_graph([], "g", [], [], initializer=[external()])
    node = model.graph.node.add(op_type="If")
    node.attribute.append(helper.make_attribute("then_branch", graph))


def in_subgraph_of_subgraph(model: ModelProto) -> None:
    in_subgraph(model)
    inner = helper.make_graph(list(model.graph.node), "g", [], [])
    attribute = model.graph.node.add(op_type="Loop").attribute.add(name="body")
    attribute.g.CopyFrom(inner)


def in_attribute_that_claims_another_type(model: ModelProto) -> None:
    attribute = model.graph.node[0].attribute.add(name="x", type=2)
    attribute.t.CopyFrom(external())


def in_function(model: ModelProto) -> None:
    node = model.functions.add(name="f").node.add(op_type="Constant")
    node.attribute.add(name="value").t.CopyFrom(external())


PLACES: dict[str, Callable[[ModelProto], object]] = {
    "an initializer": lambda m: m.graph.initializer.append(external()),
    "an initializer, unmarked": lambda m: m.graph.initializer.append(unmarked()),
    "a file beside it": lambda m: m.graph.initializer.append(external("weights.bin")),
    "sparse values": lambda m: m.graph.sparse_initializer.add().values.CopyFrom(external()),
    "sparse indices": lambda m: m.graph.sparse_initializer.add().indices.CopyFrom(external()),
    "a constant": lambda m: m.graph.node[0].attribute.add(name="value").t.CopyFrom(external()),
    "constants": lambda m: m.graph.node[0].attribute.add(name="v").tensors.append(external()),
    "a sparse constant": lambda m: (
        m.graph.node[0].attribute.add(name="v").sparse_tensor.values.CopyFrom(external())
    ),
    "sparse constants": lambda m: (
        m.graph.node[0].attribute.add(name="v").sparse_tensors.add().values.CopyFrom(external())
    ),
    "a subgraph": in_subgraph,
    "a subgraph of a subgraph": in_subgraph_of_subgraph,
    "an attribute of another type": in_attribute_that_claims_another_type,
    "a function": in_function,
    "a function's default": lambda m: (
        m.functions.add(name="f").attribute_proto.add(name="v").t.CopyFrom(external())
    ),
    "training": lambda m: m.training_info.add().initialization.initializer.append(external()),
}


@pytest.mark.parametrize("place", PLACES)
def test_data_outside(place: str) -> None:
    model = parsed()
    PLACES[place](model)
    with refused(Reason.EXTERNAL_DATA):
        format_check.check_file("model.onnx", model.SerializeToString())


def test_a_mark_of_data_outside_in_more_bits_than_are_read() -> None:
    """Readers keep 32 bits of an enumeration's number: this one is theirs for EXTERNAL."""
    number = (1 << 32) + TensorProto.EXTERNAL
    tensor = bytes([14 << 3, *(number >> 7 * at & 127 | 128 for at in range(4)), number >> 28])
    assert TensorProto.FromString(tensor).data_location == TensorProto.EXTERNAL
    # A model's graph (7), and its initializer (5).
    inner = bytes([5 << 3 | 2, len(tensor)]) + tensor
    model = onnx_bytes() + bytes([7 << 3 | 2, len(inner)]) + inner
    with refused(Reason.EXTERNAL_DATA):
        format_check.check_file("model.onnx", model)
