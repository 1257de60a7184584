"""Checks that an ONNX file contains all its data, by reading its protobuf fields.

No message is built, so a model of any size is checked in a few megabytes.
"""

from collections.abc import Mapping

from registry.formats import operators, tree_ensembles
from registry.formats.bounded_bytes import (
    BYTES,
    FIXED32,
    FIXED64,
    VARINT,
    ByteSource,
    Field,
    Message,
    walk_fields,
)
from registry.formats.operators import OperatorCheck
from registry.formats.tree_ensembles import TreeDepths
from sealgate.reasons import Reason, SealgateError

_MANY = 8
_MANY_VARINT, _MANY_FIXED32, _MANY_FIXED64 = _MANY | VARINT, _MANY | FIXED32, _MANY | FIXED64
# By message: the fields of each wire type, or of each message that they hold.
_FIELDS: Mapping[str, Mapping[int | str, tuple[int, ...]]] = {
    "ModelProto": {
        VARINT: (1, 5),
        "OperatorSetIdProto": (8,),
        BYTES: (2, 3, 4, 6),
        "GraphProto": (7,),
        "StringStringEntryProto": (14,),
        "TrainingInfoProto": (20,),
        "FunctionProto": (25,),
        "DeviceConfigurationProto": (26,),
    },
    "OperatorSetIdProto": {
        BYTES: (1,),
        VARINT: (2,),
    },
    "GraphProto": {
        "NodeProto": (1,),
        BYTES: (2, 10),
        "TensorProto": (5,),
        "SparseTensorProto": (15,),
        "ValueInfoProto": (11, 12, 13),
        "TensorAnnotation": (14,),
        "StringStringEntryProto": (16,),
    },
    "NodeProto": {
        BYTES: (1, 2, 3, 4, 6, 7, 8),
        "AttributeProto": (5,),
        "StringStringEntryProto": (9,),
        "NodeDeviceConfigurationProto": (10,),
    },
    "AttributeProto": {
        BYTES: (1, 4, 9, 13, 21),
        VARINT: (3, 20),
        FIXED32: (2,),
        "TensorProto": (5, 10),
        "GraphProto": (6, 11),
        "SparseTensorProto": (22, 23),
        "TypeProto": (14, 15),
        _MANY_FIXED32: (7,),
        _MANY_VARINT: (8,),
    },
    "TensorProto": {
        _MANY_VARINT: (1, 5, 7, 11),
        VARINT: (2, 14),
        "TensorProto.Segment": (3,),
        _MANY_FIXED32: (4,),
        BYTES: (6, 8, 9, 12),
        "StringStringEntryProto": (13, 16),
        _MANY_FIXED64: (10,),
    },
    "TensorProto.Segment": {
        VARINT: (1, 2),
    },
    "StringStringEntryProto": {
        BYTES: (1, 2),
    },
    "SparseTensorProto": {
        "TensorProto": (1, 2),
        _MANY_VARINT: (3,),
    },
    "TypeProto": {
        "TypeProto.Tensor": (1,),
        "TypeProto.Sequence": (4,),
        "TypeProto.Map": (5,),
        "TypeProto.Optional": (9,),
        "TypeProto.SparseTensor": (8,),
        "TypeProto.Opaque": (7,),
        BYTES: (6,),
    },
    "TypeProto.Tensor": {
        VARINT: (1,),
        "TensorShapeProto": (2,),
    },
    "TensorShapeProto": {
        "TensorShapeProto.Dimension": (1,),
    },
    "TensorShapeProto.Dimension": {
        VARINT: (1,),
        BYTES: (2, 3),
    },
    "TypeProto.Sequence": {
        "TypeProto": (1,),
    },
    "TypeProto.Map": {
        VARINT: (1,),
        "TypeProto": (2,),
    },
    "TypeProto.Optional": {
        "TypeProto": (1,),
    },
    "TypeProto.SparseTensor": {
        VARINT: (1,),
        "TensorShapeProto": (2,),
    },
    "TypeProto.Opaque": {
        BYTES: (1, 2),
    },
    "NodeDeviceConfigurationProto": {
        BYTES: (1,),
        "ShardingSpecProto": (2,),
        VARINT: (3,),
    },
    "ShardingSpecProto": {
        BYTES: (1,),
        _MANY_VARINT: (2,),
        "IntIntListEntryProto": (3,),
        "ShardedDimProto": (4,),
    },
    "IntIntListEntryProto": {
        VARINT: (1,),
        _MANY_VARINT: (2,),
    },
    "ShardedDimProto": {
        VARINT: (1,),
        "SimpleShardedDimProto": (2,),
    },
    "SimpleShardedDimProto": {
        VARINT: (1, 3),
        BYTES: (2,),
    },
    "ValueInfoProto": {
        BYTES: (1, 3),
        "TypeProto": (2,),
        "StringStringEntryProto": (4,),
    },
    "TensorAnnotation": {
        BYTES: (1,),
        "StringStringEntryProto": (2,),
    },
    "TrainingInfoProto": {
        "GraphProto": (1, 2),
        "StringStringEntryProto": (3, 4),
    },
    "FunctionProto": {
        BYTES: (1, 4, 5, 6, 8, 10, 13),
        "AttributeProto": (11,),
        "NodeProto": (7,),
        "OperatorSetIdProto": (9,),
        "ValueInfoProto": (12,),
        "StringStringEntryProto": (14,),
    },
    "DeviceConfigurationProto": {
        BYTES: (1, 3),
        VARINT: (2,),
    },
}


def _messages() -> dict[str, Message]:
    messages = {name: Message(name) for name in _FIELDS}
    for name, fields in _FIELDS.items():
        for kind, numbers in fields.items():
            for number in numbers:
                messages[name].fields[number] = (
                    Field(BYTES, True, messages[kind])
                    if isinstance(kind, str)
                    else Field(kind & ~_MANY, bool(kind & _MANY))
                )
    return messages


MESSAGES: Mapping[str, Message] = _messages()
"""Every message by its name."""
MODEL = MESSAGES["ModelProto"]


# Of a file, with those of all messages in it: a network of some 50,000 nodes.
MOST_FIELDS = 1 << 20
# A model starts with its IR version: field 1, a varint.
_START = b"\x08"
_OLDEST_IR = 3
_EXTERNAL = 1
# Notes of others may be many, and are nothing to us.
_OURS = b"sealgate."
_VISITED: Mapping[str, tuple[int, ...]] = {
    # ir_version, opset_import, metadata_props, functions
    "ModelProto": (1, 8, 14, 25),
    "TensorProto": (13, 14),  # external_data, data_location
    "StringStringEntryProto": (1, 2),
    **tree_ensembles.VISITED,  # GraphProto among them
    "NodeProto": (*operators.VISITED["NodeProto"], *tree_ensembles.VISITED["NodeProto"]),
}


def check_onnx(path: str, source: ByteSource, most: int = MOST_FIELDS) -> dict[str, str]:
    """Check an ONNX file; return the notes in its metadata whose names begin with `sealgate.`.

    1. It begins as ONNX files do, has at most `most` fields, and none that the format does not know
       (FORMAT_REFUSED).
    2. It has a graph with nodes, and says which operators it is written in (FORMAT_REFUSED).
    3. No tensor of it, sparse ones and those of subgraphs and functions included, lies outside
       (EXTERNAL_DATA), whatever type the attribute that holds it claims to be of.
    4. It has no functions of its own (FORMAT_REFUSED): nested, a few hundred bytes of them unfold
       into millions of nodes when the model is loaded, and they hide weights from other checks.
    5. None of its trees is so deep that loading it would end the process (FORMAT_REFUSED).
    6. No operator of it, those of subgraphs included, draws at random or joins texts, and no
       `Dropout` has an input that could turn training on (FORMAT_REFUSED).
    """
    # 1., 5., 6.
    if source.read(0, 1) != _START:
        raise _refused(path, "not an ONNX file")
    found = _Findings()
    try:
        walk_fields(source, MODEL, most, _VISITED, found.visit)
        found.trees.close()
    except ValueError as error:
        raise _refused(path, str(error)) from error
    # 2.
    if found.ir_version < _OLDEST_IR or not found.has_nodes or not found.has_operators:
        raise _refused(path, "an ONNX model without a graph or operators")
    # 3.
    if found.is_outside:
        raise SealgateError(Reason.EXTERNAL_DATA, path)
    # 4.
    if found.has_functions:
        raise _refused(path, "local functions, which onnx.inliner can dissolve")
    return found.notes


class _Findings:
    """The findings from the fields of a model."""

    def __init__(self) -> None:
        self.ir_version = 0
        self.has_nodes = self.has_operators = self.has_functions = self.is_outside = False
        self.notes: dict[str, str] = {}
        self.trees = TreeDepths()
        self._operators = OperatorCheck()
        self._name = self._text = b""

    def visit(self, message: str, number: int, depth: int, value: int | bytes) -> None:
        if message in tree_ensembles.VISITED:
            if number in operators.VISITED.get(message, ()):
                self._operators.visit(message, number, depth, value)
            if number in tree_ensembles.VISITED[message]:
                self.trees.visit(message, number, depth, value)
        if message == "TensorProto":
            # Of an enumeration's number, protobuf keeps 32 bits.
            self.is_outside |= number == 13 or _low(value) == _EXTERNAL
        elif message == "GraphProto":
            # The model's own graph is the only one right within it.
            self.has_nodes |= depth == 1
        elif message in tree_ensembles.VISITED:
            return
        elif message == "StringStringEntryProto":
            if depth == 1 and isinstance(value, bytes):
                self._note(number, value)
        elif number == 1 and isinstance(value, int):
            self.ir_version = value
        elif number == 8:
            self.has_operators = True
        elif number == 14:
            self._name = self._text = b""
        else:
            self.has_functions = True

    def _note(self, number: int, value: bytes) -> None:
        if number == 1:
            self._name = value
        else:
            self._text = value
        if self._name.startswith(_OURS):
            self.notes[self._name.decode("utf-8", "replace")] = self._text.decode(
                "utf-8", "replace"
            )


def _low(value: int | bytes) -> int:
    return value & 0xFFFFFFFF if isinstance(value, int) else 0


def _refused(path: str, detail: str) -> SealgateError:
    return SealgateError(Reason.FORMAT_REFUSED, f"{path}: {detail}")
