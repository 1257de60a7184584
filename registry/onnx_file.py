"""Checks that a file is an ONNX model that holds all its data, by its fields alone.

No message is built, so a model of any size is checked in a few megabytes.
"""

from collections.abc import Mapping

from registry.byte_sources import ByteSource
from registry.onnx_schema import MODEL
from registry.protobuf_limits import walk_fields
from sealgate.reasons import Reason, Refusal

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
    "GraphProto": (1,),  # node
    "TensorProto": (13, 14),  # external_data, data_location
    "StringStringEntryProto": (1, 2),
}


def check_model(path: str, source: ByteSource, most: int = MOST_FIELDS) -> dict[str, str]:
    """Check an ONNX file; return the notes in its metadata whose names begin with `sealgate.`.

    1. It has at most `most` fields, and none that the format does not know (FORMAT_REFUSED).
    2. It has a graph with nodes, and says which operators it is written in (FORMAT_REFUSED).
    3. No tensor of it, sparse ones and those of subgraphs and functions included, lies outside
       (EXTERNAL_DATA), whatever type the attribute that holds it claims to be of.
    4. It has no functions of its own (FORMAT_REFUSED): nested, a few hundred bytes of them unfold
       into millions of nodes when the model is loaded, and they hide weights from other checks.
    """
    # 1.
    found = _Findings()
    try:
        walk_fields(source, MODEL, most, _VISITED, found.visit)
    except ValueError as error:
        raise _refused(path, str(error)) from error
    if source.read(0, 1) != _START:
        raise _refused(path, "not an ONNX model")
    # 2.
    if found.ir_version < _OLDEST_IR or not found.has_nodes or not found.has_operators:
        raise _refused(path, "an ONNX model without a graph or operators")
    # 3.
    if found.is_outside:
        raise Refusal(Reason.EXTERNAL_DATA, path)
    # 4.
    if found.has_functions:
        raise _refused(path, "local functions, which onnx.inliner can dissolve")
    return found.notes


class _Findings:
    """What the fields of a model say."""

    def __init__(self) -> None:
        self.ir_version = 0
        self.has_nodes = self.has_operators = self.has_functions = self.is_outside = False
        self.notes: dict[str, str] = {}
        self._name = self._text = b""

    def visit(self, message: str, number: int, depth: int, value: int | bytes) -> None:
        if message == "TensorProto":
            self.is_outside |= number == 13 or value == _EXTERNAL
        elif message == "GraphProto":
            # The model's own graph is the only one right within it.
            self.has_nodes |= depth == 1
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


def _refused(path: str, detail: str) -> Refusal:
    return Refusal(Reason.FORMAT_REFUSED, f"{path}: {detail}")
