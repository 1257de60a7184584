"""Trees that would end the process that loads them are refused before anybody loads them."""

from collections.abc import Sequence
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from registry.formats.format_check import check_file
from registry.formats.tree_ensembles import MOST_DEPTH
from sealgate.reasons import Reason, SealgateError

_INPUT = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
_OUTPUT = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])
_ML = "ai.onnx.ml"


def by_number(true: Sequence[int], false: Sequence[int], name: str = "Regressor") -> Any:
    """One tree of an older operator. The last nodes, which have no children, are leaves."""
    leaves = range(len(true), max(*true, *false) + 1)
    count = leaves.stop
    return helper.make_node(
        f"TreeEnsemble{name}",
        ["x"],
        ["y"],
        domain=_ML,
        nodes_modes=["BRANCH_LEQ"] * len(true) + ["LEAF"] * len(leaves),
        nodes_treeids=[0] * count,
        nodes_nodeids=list(range(count)),
        nodes_featureids=[0] * count,
        nodes_values=[0.5] * count,
        nodes_truenodeids=[*true, *[0] * len(leaves)],
        nodes_falsenodeids=[*false, *[0] * len(leaves)],
        target_treeids=[0] * len(leaves),
        target_nodeids=list(leaves),
        target_ids=[0] * len(leaves),
        target_weights=[1.0] * len(leaves),
        n_targets=1,
    )


def chain(depth: int) -> Any:
    """Each node's child is the next one."""
    return by_number(range(1, depth + 1), [depth + 1] * depth)


def by_place(depth: int, roots: Sequence[int] = (0,)) -> Any:
    """The same of the newer operator."""
    last = [0] * (depth - 1) + [1]
    return helper.make_node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        domain=_ML,
        tree_roots=list(roots),
        nodes_featureids=[0] * depth,
        nodes_splits=helper.make_tensor("s", TensorProto.FLOAT, [depth], [0.5] * depth),
        nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [depth], [0] * depth),
        nodes_truenodeids=[0] * depth,
        nodes_trueleafs=[1] * depth,
        nodes_falsenodeids=[*range(1, depth), 0],
        nodes_falseleafs=last,
        leaf_targetids=[0],
        leaf_weights=helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]),
        n_targets=1,
    )


def model(*nodes: Any) -> bytes:
    graph = helper.make_graph(list(nodes), "g", [_INPUT], [_OUTPUT])
    operators = [helper.make_opsetid("", 18), helper.make_opsetid(_ML, 5)]
    made = helper.make_model(graph, opset_imports=operators, ir_version=9)
    return bytes(made.SerializeToString())


def branch(node: Any, before: int = 0) -> Any:
    """An If whose one branch holds the node, after other attributes or before them."""
    inner = helper.make_graph([node], "inner", [], [_OUTPUT])
    empty = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "e", [], [_OUTPUT])
    found = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=empty)
    attributes = list(found.attribute)
    del found.attribute[:]
    found.attribute.extend(attributes[::-1] if before else attributes)
    return found


@pytest.mark.parametrize("made", [chain, by_place])
def test_a_tree_is_as_deep_as_somebody_may_fit_one(made: Any) -> None:
    check_file("model.onnx", model(made(MOST_DEPTH)))
    wide = by_number([1, 3, 5], [2, 4, 6])
    check_file("model.onnx", model(wide, made(20), chain(1)))


@pytest.mark.parametrize(
    "node",
    [
        chain(MOST_DEPTH + 1),
        by_place(MOST_DEPTH + 1),
        by_number([1, 0], [2, 3], name="Classifier"),
        branch(chain(MOST_DEPTH + 1)),
        branch(by_place(MOST_DEPTH + 1), before=1),
        by_place(2, roots=[0, 0]),
    ],
    ids=["by number", "by place", "circle", "in a branch", "in the last branch", "one root"],
)
def test_a_deeper_one_is_refused(node: Any) -> None:
    refused(model(chain(1), node, chain(1)))


def test_however_its_attributes_are_written() -> None:
    """Their names last, their numbers packed, or one of them twice."""
    node = by_place(MOST_DEPTH + 1)
    packed = onnx.NodeProto()
    packed.CopyFrom(node)
    rest = [each for each in packed.attribute if each.name != "nodes_falsenodeids"]
    (children,) = (each for each in packed.attribute if each.name == "nodes_falsenodeids")
    del packed.attribute[:]
    packed.attribute.extend(rest)
    numbers = b"".join(map(varint, children.ints))
    name = b"\x0a" + varint(len(children.name)) + children.name.encode()
    attribute = b"\x42" + varint(len(numbers)) + numbers + b"\xa0\x01\x07" + name
    data = packed.SerializeToString() + b"\x2a" + varint(len(attribute)) + attribute
    assert onnx.NodeProto.FromString(data).attribute[-1].ints == children.ints
    refused(model(onnx.NodeProto.FromString(data)))
    written = model(packed)
    whole = packed.SerializeToString()
    assert whole in written
    # In the graph, which is the only field whose length the node changes.
    refused(spliced(written, whole, data))
    twice = by_number([1], [2])
    twice.attribute.append(twice.attribute[0])
    refused(model(twice))


def spliced(written: bytes, node: bytes, other: bytes) -> bytes:
    """The model with another node's bytes in place of those."""
    found = onnx.ModelProto.FromString(written)
    graph = found.graph.SerializeToString()
    del found.graph.node[:]
    found.ClearField("graph")
    before = b"\x0a" + varint(len(node)) + node
    assert before in graph
    changed = graph.replace(before, b"\x0a" + varint(len(other)) + other)
    return bytes(found.SerializeToString() + b"\x3a" + varint(len(changed)) + changed)


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def refused(data: bytes) -> None:
    with pytest.raises(SealgateError) as error:
        check_file("model.onnx", data)
    assert error.value.reason is Reason.FORMAT_REFUSED
    assert error.value.detail.startswith("model.onnx: ")
    assert "tree" in error.value.detail
