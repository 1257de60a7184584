"""Joins an ONNX file with the weights that lie in files beside it, as exporters write them.

torch's exporter, MLflow and `optimum` keep larger weights in a file of their own (`net.onnx.data`,
`model.onnx_data`), which the ONNX file names. Confined workers read which files these are, and put
the weights in; only plain files of the same folder whose names end with `data` are given to them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from publishing.serialization import pack_tensors, unpack_tensors
from publishing.source.folder import LARGEST_FILE, read_plain_file
from registry.formats.format_check import check_file
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

LOCATE, JOIN = f"{__name__}:locate", f"{__name__}:join"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}[._]data")
_MOST_FILES, _HEADER = 1000, 1 << 20


def read_whole(path: Path, confinement: Confinement) -> bytes:
    """The ONNX file at `path`, with its weights in it.

    Raises as `whole_model`, and PATH_UNSAFE or FILE_MISSING.
    """
    return whole_model(
        read_plain_file(path), lambda name: read_plain_file(path.parent / name), confinement
    )


def whole_of(files: Mapping[str, bytes], path: str, confinement: Confinement) -> bytes:
    """The same of the `files` of a folder, by their paths. Raises as `read_whole`."""

    def beside(name: str) -> bytes:
        return _found(files, str(PurePosixPath(path).with_name(name)))

    return whole_model(_found(files, path), beside, confinement)


def weight_files(path: Path) -> list[Path]:
    """The files that may hold weights of the ONNX file at `path`; none where it has its own."""
    if not is_divided(read_plain_file(path)):
        return []
    return sorted(each for each in path.parent.iterdir() if _NAME.fullmatch(each.name))


def _found(files: Mapping[str, bytes], path: str) -> bytes:
    if path not in files:
        raise SealgateError(Reason.FILE_MISSING, f"there is no {path[:200]}")
    return files[path]


def whole_model(model: bytes, beside: Callable[[str], bytes], confinement: Confinement) -> bytes:
    """The model with the weights of the files `beside` it, which are asked for by their names; one
    that has its weights is given back as it is.

    Raises: PATH_UNSAFE for other names, FILE_TOO_LARGE for what is larger than an ONNX file can be,
    FORMAT_REFUSED for what fits no weight, and the reasons of a worker.
    """
    if not is_divided(model):
        return model
    texts = {"model": model}
    for name in _names(_asked(LOCATE, model, _HEADER, confinement)):
        texts[f"file/{name}"] = beside(name)
        if sum(map(len, texts.values())) > LARGEST_FILE:
            raise SealgateError(Reason.FILE_TOO_LARGE, f"the model is larger with {name}")
    most = sum(map(len, texts.values())) + _HEADER
    return _asked(JOIN, pack_tensors(texts, {}), most, confinement)


def is_divided(model: bytes) -> bool:
    """Whether an ONNX file names others. False for any other file."""
    try:
        check_file("model.onnx", model)
    except SealgateError as refusal:
        return refusal.reason is Reason.EXTERNAL_DATA
    return False


def locate(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends the names of the files that the model refers to."""
    found = sorted({_places(tensor).get("location", "") for tensor in _outside(_parsed(request))})
    send(canonical.encode(found[: _MOST_FILES + 1]))


def join(request: bytes, send: Callable[[bytes], None]) -> None:
    """In a worker: sends the model with the weights of its files."""
    given = unpack_tensors(request)
    model = _parsed(given["model"].tobytes())
    files = {name: data.tobytes() for name, data in given.items() if name != "model"}
    for tensor in _outside(model):
        try:
            _fill(tensor, files)
        except (ValueError, KeyError, TypeError) as error:
            detail = f"the weight {tensor.name[:100]} is not in its file: {str(error)[:100]}"
            raise SealgateError(Reason.FORMAT_REFUSED, detail) from error
    send(model.SerializeToString(deterministic=True))


def _asked(task: str, request: bytes, most: int, confinement: Confinement) -> bytes:
    limits, unsafe = confinement.limits, confinement.unsafe
    with process.start(task, request, limits, unsafe=unsafe) as worker:
        found = worker.receive(most)
        worker.finish()
    return found


def _names(told: bytes) -> list[str]:
    names = [fields.text(each) for each in fields.items(canonical.decode(told))]
    if len(names) > _MOST_FILES:
        raise SealgateError(Reason.FILE_TOO_LARGE, f"weights in more than {_MOST_FILES} files")
    for name in names:
        if not _NAME.fullmatch(name):
            detail = f"weights in {name[:100]!r}: they may lie in the model's folder, in NAME.data"
            raise SealgateError(Reason.PATH_UNSAFE, detail)
    return names


def _parsed(data: bytes) -> onnx.ModelProto:
    try:
        return onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise SealgateError(Reason.FORMAT_REFUSED, "not an ONNX model") from error


def _outside(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    found = list(_tensors(model.graph))
    for function in model.functions:
        found += _of_nodes(function.node)
    return [each for each in found if each.data_location == onnx.TensorProto.EXTERNAL]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors(graph)


def _places(tensor: onnx.TensorProto) -> dict[str, str]:
    return {each.key: each.value for each in tensor.external_data}


def _fill(tensor: onnx.TensorProto, files: Mapping[str, bytes]) -> None:
    """Raises ValueError or KeyError for what is not in the file, or is of another size."""
    places = _places(tensor)
    data = files[f"file/{places['location']}"]
    offset = int(places.get("offset", 0))
    length = int(places.get("length", len(data) - offset))
    if offset < 0 or length < 0 or offset + length > len(data):
        raise ValueError(f"{length} bytes at {offset} of {len(data)}")
    tensor.raw_data = data[offset : offset + length]
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.DEFAULT
    numpy_helper.to_array(tensor)
