"""The fields of a protobuf message are counted before it is parsed."""

import json

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper

from registry.formats.bounded_bytes import BYTES, FIXED32, FIXED64, VARINT, MemoryBytes, walk_fields
from registry.formats.format_check import check_file
from registry.formats.onnx_check import MESSAGES, MODEL, MOST_FIELDS, check_onnx
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import refused
from tests.support.builders.protobuf import field, varint
from tests.support.harness.registry import onnx_bytes

NUMBERS = {
    "int32_data": (5, b"\x01"),
    "int64_data": (7, b"\x01"),
    "uint64_data": (11, b"\x01"),
    "dims": (1, b"\x01"),
}


def counts(data: bytes, most: int) -> bool:
    try:
        walk_fields(MemoryBytes(data), MODEL, most, {}, lambda *_: None)
    except ValueError:
        return False
    return True


def model_with(*graph_fields: bytes) -> bytes:
    return onnx_bytes() + field(7, b"".join(graph_fields))


def with_nodes(count: int) -> bytes:
    """A model of that many nodes, two bytes each."""
    model = ModelProto.FromString(onnx_bytes())
    model.graph.node.extend([NodeProto()] * count)
    return model.SerializeToString()


@pytest.mark.parametrize("name", NUMBERS)
def test_packed_numbers_count_as_fields(name: str) -> None:
    number, element = NUMBERS[name]
    few = model_with(field(5, field(number, element * 900)))
    many = model_with(field(5, field(number, element * 1001)))
    assert counts(few, 1000)
    assert not counts(many, 1000)


def test_the_bound_on_packed_numbers_is_a_real_one() -> None:
    packed = model_with(field(5, field(7, b"\x01" * MOST_FIELDS)))
    with refused(Reason.FORMAT_REFUSED):
        check_file("model.onnx", packed)


def test_packed_numbers_of_an_attribute_count_as_well() -> None:
    attribute = field(5, field(8, b"\x01" * 1001))
    assert not counts(model_with(field(1, attribute)), 1000)


def test_packed_numbers_of_fixed_width_take_no_more_than_on_the_wire() -> None:
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[5000], float_data=[1.0] * 5000)
    model = ModelProto.FromString(onnx_bytes())
    model.graph.initializer.append(tensor)
    assert counts(model.SerializeToString(), 100)


@pytest.mark.parametrize("payload", [b"\x81", b"\xff" * 10 + b"\x01", b"\x01" + b"\x80" * 10])
def test_packed_numbers_without_an_end_are_refused(payload: bytes) -> None:
    assert not counts(model_with(field(5, field(7, payload))), 1000)


def test_a_packed_field_that_is_too_large_is_not_read() -> None:
    read = []

    class Recorded(MemoryBytes):
        def read(self, at: int, count: int) -> bytes:
            read.append(count)
            return MemoryBytes.read(self, at, count)

    data = model_with(field(5, field(7, b"\x01" * (4 << 20))))
    with pytest.raises(ValueError, match="too many fields"):
        walk_fields(Recorded(data), MODEL, 1000, {}, lambda *_: None)
    assert max(read) <= 1 << 20


def test_the_bound_on_nodes_is_a_real_one() -> None:
    with refused(Reason.FORMAT_REFUSED):
        check_file("large.onnx", with_nodes(MOST_FIELDS))


def test_a_model_of_few_enough_nodes_is_accepted() -> None:
    check_onnx("small.onnx", MemoryBytes(with_nodes(900)), 1000)
    with refused(Reason.FORMAT_REFUSED):
        check_onnx("large.onnx", MemoryBytes(with_nodes(1000)), 1000)


def test_a_header_of_too_many_tensors_is_not_read() -> None:
    tensor = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"{number:x}": tensor for number in range(300_000)}).encode()
    with refused(Reason.FORMAT_REFUSED):
        check_file("large.safetensors", len(header).to_bytes(8, "little") + header)


@pytest.mark.parametrize("data", [b"", b"hello, I am a text\n", b"PK\x03\x04", b"\x80\x04"])
def test_what_does_not_begin_as_onnx_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(SealgateError, match=r"credit\.onnx: not an ONNX file"):
        check_file("credit.onnx", data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",
        b"\x08" + b"\xff" * 10,
        b"\x3a\x05\x0a",
        b"\x0b\x0c",
        b"\x3a\x02\x0a\x05" + b"x" * 5,
        b"\x09\x00",
        b"\x0d\x00\x00\x00\x00",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    assert not counts(data, 1000)


@pytest.mark.parametrize(
    "graph", [field(1, field(99, b"")), field(5, field(14, b"\x01")), field(2, 5)]
)
def test_fields_that_the_format_does_not_know_are_refused_at_every_depth(graph: bytes) -> None:
    with refused(Reason.FORMAT_REFUSED):
        check_file("model.onnx", model_with(graph))


def test_every_field_is_counted_at_every_depth() -> None:
    inner = helper.make_node("If", [], [])
    for _ in range(20):
        graph = helper.make_graph([inner], "g", [], [])
        inner = helper.make_node("If", [], [], then_branch=graph)
    data = helper.make_model(helper.make_graph([inner], "g", [], [])).SerializeToString()
    # Of each node operator, attribute and its name, type and graph; of each graph name and node.
    fields = next(n for n in range(1000) if counts(data, n))
    assert 20 * 7 <= fields <= 20 * 8


def test_as_many_messages_lie_within_one_another_as_protobuf_takes() -> None:
    for depth in range(90, 105):
        inner = b""
        for level in range(depth, 0, -1):
            # A graph's node (1), its attribute (5), the attribute's graph (6); the model's is 7.
            inner = field(7 if level == 1 else (6, 1, 5)[(level - 1) % 3], inner)
        data = onnx_bytes() + inner
        assert counts(data, 10_000) == parses(data), depth


@given(
    st.recursive(
        st.binary(max_size=4),
        lambda inner: st.lists(
            st.tuples(st.integers(1, 16), st.one_of(inner, st.integers(0, 2**65))), max_size=4
        ).map(lambda fields: b"".join(field(*each) for each in fields)),
        max_leaves=12,
    )
)
def test_it_takes_nothing_that_protobuf_does_not(graph: bytes) -> None:
    data = onnx_bytes() + graph
    assert not counts(data, 10_000) or parses(data)


def parses(data: bytes) -> bool:
    try:
        ModelProto.FromString(data)
    except Exception:
        return False
    return True


def test_large_numbers_are_read_across_windows() -> None:
    filling = field(6, b"x" * ((1 << 20) - len(onnx_bytes()) - 12))
    for more in range(24):
        data = onnx_bytes() + filling + field(6, b"y" * more) + field(5, 2**63) + field(2, b"end")
        assert counts(data, 100)
        assert not counts(data + varint(1), 100)


class TestSchema:
    def test_is_that_of_the_library(self) -> None:
        described: dict[str, Descriptor] = {}
        rest = [ModelProto.DESCRIPTOR]
        while rest:
            kind = rest.pop()
            if described.setdefault(_name(kind), kind) is kind:
                held = [each.message_type for each in kind.fields if each.message_type]
                rest += [each for each in held if _name(each) not in described]
        assert described.keys() == MESSAGES.keys()
        for name, kind in described.items():
            assert _fields(kind) == {
                number: (each.wire, each.message.name if each.message else each.repeated)
                for number, each in MESSAGES[name].fields.items()
            }, name


def _name(kind: Descriptor) -> str:
    return kind.full_name.removeprefix("onnx.")


def _fields(kind: Descriptor) -> dict[int, tuple[int, str | bool]]:
    wires = {
        FieldDescriptor.TYPE_FLOAT: FIXED32,
        FieldDescriptor.TYPE_DOUBLE: FIXED64,
        FieldDescriptor.TYPE_STRING: BYTES,
        FieldDescriptor.TYPE_BYTES: BYTES,
        FieldDescriptor.TYPE_MESSAGE: BYTES,
    }
    found: dict[int, tuple[int, str | bool]] = {}
    for each in kind.fields:
        wire = wires.get(each.type, VARINT)
        many = each.is_repeated and wire != BYTES
        found[each.number] = (wire, _name(each.message_type) if each.message_type else many)
    return found
