"""What a version's files may be: ONNX, safetensors and JSON, by their names and by their content.

Nothing is ever unpickled, unpacked or executed here. An ONNX file must hold all its data itself:
models that pointed at other files have been used to read what they should not.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from registry.tensor_headers import check_header
from registry.unfolding import check_fields
from sealgate.reasons import Reason, Refusal

LARGEST_JSON = 16 << 20
# Of an ONNX file, with those of all messages in it: a network of some 50,000 nodes.
_MOST_FIELDS = 1 << 20
# A model starts with its IR version: field 1, a varint.
_ONNX_START = b"\x08"


def check_name(path: str) -> str:
    """Return the extension of a file that may be part of a version.

    Raises Refusal(FORMAT_REFUSED).
    """
    extension = path[path.rfind(".") :] if "." in path else ""
    if extension not in _CHECKS:
        raise Refusal(Reason.FORMAT_REFUSED, f"{path}: not a name that is accepted")
    return extension


def check_file(path: str, data: bytes) -> None:
    """Check that a file is what its name says.

    Raises Refusal: FORMAT_REFUSED, or EXTERNAL_DATA for an ONNX file that refers to another.
    """
    _CHECKS[check_name(path)](path, data)


def _check_onnx(path: str, data: bytes) -> None:
    """1. It does not unfold into far more than it is, and parses as a model with nothing that the
       format does not know (FORMAT_REFUSED).
    2. It has a graph with nodes, and says which operators it is written in (FORMAT_REFUSED).
    3. No tensor of it, sparse ones and those of subgraphs and functions included, lies outside
       (EXTERNAL_DATA).
    4. It has no functions of its own (FORMAT_REFUSED): nested, a few hundred bytes of them unfold
       into millions of nodes when the model is loaded, and they hide weights from other checks.
    """
    # 1.
    model = ModelProto()
    try:
        check_fields(data, ModelProto.DESCRIPTOR, _MOST_FIELDS)
        model.ParseFromString(data)
    except (DecodeError, ValueError) as error:
        raise _refused(path, "not a protobuf message") from error
    if not data.startswith(_ONNX_START) or len(UnknownFieldSet(model)):
        raise _refused(path, "not an ONNX model")
    # 2.
    if model.ir_version < 3 or not model.graph.node or not model.opset_import:
        raise _refused(path, "an ONNX model without a graph or operators")
    # 3.
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise Refusal(Reason.EXTERNAL_DATA, path)
    # 4.
    if model.functions:
        raise _refused(path, "local functions, which onnx.inliner can dissolve")


def _check_safetensors(path: str, data: bytes) -> None:
    try:
        check_header(data)
    except ValueError as error:
        raise _refused(path, "not safetensors") from error


def _check_json(path: str, data: bytes) -> None:
    if len(data) > LARGEST_JSON:
        raise _refused(path, "JSON that is too large")
    try:
        json.loads(
            data.decode("utf-8"), object_pairs_hook=_without_repeats, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise _refused(path, "not JSON") from error


_CHECKS: Mapping[str, Callable[[str, bytes], None]] = {
    ".onnx": _check_onnx,
    ".safetensors": _check_safetensors,
    ".json": _check_json,
}


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    # Nesting is bounded: protobuf parses no more than a hundred messages within one another.
    yield from _of_graph(model.graph)
    for info in model.training_info:
        yield from _of_graph(info.initialization)
        yield from _of_graph(info.algorithm)
    for function in model.functions:
        for node in function.node:
            yield from _of_node(node)
        for attribute in function.attribute_proto:
            yield from _of_attribute(attribute)


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from _of_sparse(sparse)
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        yield from _of_attribute(attribute)


def _of_attribute(attribute: AttributeProto) -> Iterator[TensorProto]:
    # Every field is looked at, whatever type the attribute claims to be of.
    yield attribute.t
    yield from attribute.tensors
    yield from _of_sparse(attribute.sparse_tensor)
    for sparse in attribute.sparse_tensors:
        yield from _of_sparse(sparse)
    for graph in (attribute.g, *attribute.graphs):
        yield from _of_graph(graph)


def _of_sparse(sparse: SparseTensorProto) -> Iterator[TensorProto]:
    yield sparse.values
    yield sparse.indices


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("an object names something twice")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _refused(path: str, detail: str) -> Refusal:
    return Refusal(Reason.FORMAT_REFUSED, f"{path}: {detail}")
