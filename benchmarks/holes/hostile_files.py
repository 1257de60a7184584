"""Files of a version that take far more to read than to send, by kind; none is ever registered."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.builders.protobuf import field

MB = 1 << 20
# An IR version, and a graph (field 7) with one empty node (field 1), but no operator set.
_HEAD = b"\x08\x08\x3a\x02\x0a\x00"


def _graph(*fields: bytes) -> dict[str, bytes]:
    return {"model.int8.onnx": _HEAD + field(7, b"".join(fields))}


def _packed() -> dict[str, bytes]:
    """A tensor (a graph's field 5) of 250 million packed numbers (its field 7)."""
    return _graph(field(5, field(7, b"\x01" * (250 * MB))))


def _weights() -> dict[str, bytes]:
    """A tensor of 250 MB of raw data, which is no more in memory than on the wire."""
    return _graph(field(5, field(9, b"\x01" * (250 * MB))))


def _attributes() -> dict[str, bytes]:
    """A node of empty attributes (its field 5), two bytes each, as many as are taken."""
    return _graph(field(1, b"\x2a\x00" * (MB - 16)))


def _long_json() -> dict[str, bytes]:
    return {"model.json": b"[" + b"[]," * (5 * MB) + b"[]]"}


def _nested_json() -> dict[str, bytes]:
    lists = b"[[[]]]," * (MB // 2)
    return {"model.json": (b"[" + lists + b"0," * 1000).ljust(16 * MB - 1) + b"]"}


def _header() -> dict[str, bytes]:
    """A safetensors header of 15 MB."""
    lists = b"[]," * (MB // 2)
    header = (b'{"x":[' + lists + b"[]]}").ljust(15 * MB)
    return {"model.safetensors": len(header).to_bytes(8, "little") + header}


def _many() -> dict[str, bytes]:
    """As many files as a version may have, the last one malformed."""
    return {f"f{number:03}.json": b"[%d]" % number for number in range(255)} | {"g.json": b"["}


KINDS: Mapping[str, Callable[[], dict[str, bytes]]] = {
    "packed numbers, 250 MB": _packed,
    "weights, 250 MB": _weights,
    "empty attributes, 2 MB": _attributes,
    "long JSON, 15 MB": _long_json,
    "nested JSON, 16 MB": _nested_json,
    "tensor header, 15 MB": _header,
    "256 small files": _many,
}


def write(kind: str, folder: Path) -> dict[str, Path]:
    """Write the files of a kind into a new folder; returns them by name."""
    folder.mkdir()
    paths = {}
    for name, data in KINDS[kind]().items():
        paths[name] = folder / name
        paths[name].write_bytes(data)
    return paths
