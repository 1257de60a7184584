"""The messages of an ONNX file, by field number, as `onnx.proto` of ONNX 1.23 has them.

They are written down here so that a file can be checked without loading the ONNX library, which
takes longer than the check. A test compares them with the library that is installed.
"""

from collections.abc import Mapping

from registry.protobuf_limits import BYTES, FIXED32, FIXED64, VARINT, Field, Message

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
