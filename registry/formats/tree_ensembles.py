"""Bounds how deep the trees of an ONNX file are, while its fields are read.

onnxruntime builds a tree by recursion: one that is 20,000 nodes deep ends the process that loads
it, and whoever approves a version sees no nodes. So the longest way from a node to a leaf is
bounded, in both forms that operators have:

    TreeEnsembleClassifier, -Regressor   nodes by tree and number; `nodes_modes` names the leaves
    TreeEnsemble                         nodes by place; flags say which children are leaves

onnxruntime refuses other faults of a tree, such as children that do not exist.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

MOST_DEPTH = 1000
"""A tree that somebody fitted has a few dozen, and seldom a few hundred."""
# The numbers of the fields in ONNX's schema.
NODE, OP_TYPE, ATTRIBUTE, NAME, INTS, STRINGS = 1, 4, 5, 1, 8, 9
VISITED: Mapping[str, tuple[int, ...]] = {
    "GraphProto": (NODE,),
    "NodeProto": (OP_TYPE, ATTRIBUTE),
    "AttributeProto": (NAME, INTS, STRINGS),
}
"""The fields that `TreeDepths.visit` is to be shown, by their message."""
_OPERATOR = b"TreeEnsemble"
_LEAF = b"LEAF"
# A varint goes on while this bit is set.
_MORE, _BITS = 0x80, 7

Children = dict[int, tuple[int, ...]]


@dataclass(slots=True)
class _Attribute:
    """Its numbers and texts as far as they have come. The name may come last."""

    name: bytes = b""
    numbers: list[int] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class _Node:
    operator: bytes = b""
    attributes: list[_Attribute] = field(default_factory=list)


class TreeDepths:
    """Collects the nodes that trees are made of. Each method raises ValueError for a tree that is
    too deep.
    """

    def __init__(self) -> None:
        # Those that are not over, by how many messages are around them: a node may hold a graph.
        self._open: list[tuple[int, _Node]] = []

    def visit(self, message: str, number: int, depth: int, value: int | bytes) -> None:
        """See `registry.formats.bounded_bytes.Visitor`."""
        # Nodes within that message, or before it, are complete.
        self._close(depth)
        if message == "GraphProto":
            self._open.append((depth, _Node()))
            return
        above = 1 if message == "NodeProto" else 2
        if not self._open or self._open[-1][0] != depth - above:
            # A function's, which no accepted file has.
            return
        node = self._open[-1][1]
        if message == "AttributeProto":
            _add(node.attributes[-1], number, value)
        elif number == ATTRIBUTE:
            node.attributes.append(_Attribute())
        elif isinstance(value, bytes):
            node.operator = value

    def close(self) -> None:
        """Check the nodes that are left when the file is over."""
        self._close(0)

    def _close(self, depth: int) -> None:
        while self._open and self._open[-1][0] >= depth:
            _check(self._open.pop()[1])


def _add(attribute: _Attribute, number: int, value: int | bytes) -> None:
    if isinstance(value, int):
        attribute.numbers.append(value)
    elif number == NAME:
        attribute.name = value
    elif number == INTS:
        attribute.numbers += _unpacked(value)
    else:
        attribute.texts.append(value)


def _unpacked(packed: bytes) -> Iterator[int]:
    value = shift = 0
    for byte in packed:
        value |= (byte & ~_MORE) << shift
        shift += _BITS
        if not byte & _MORE:
            yield value
            value = shift = 0


def _check(node: _Node) -> None:
    if not node.operator.startswith(_OPERATOR):
        return
    given = {each.name.decode("ascii", "replace"): each for each in node.attributes}
    if len(given) < len(node.attributes):
        raise ValueError("trees that say something twice")
    numbers = {name: each.numbers for name, each in given.items()}
    roots = numbers.get("tree_roots", ())
    if len(set(roots)) < len(roots):
        raise ValueError("trees with one root, which take long to load")
    modes = given["nodes_modes"].texts if "nodes_modes" in given else []
    children = _by_number(numbers, modes) if modes else _by_place(numbers)
    if _is_deeper(children, MOST_DEPTH):
        raise ValueError(f"a tree that is deeper than {MOST_DEPTH} nodes, or a circle")


def _by_number(numbers: Mapping[str, Sequence[int]], modes: Sequence[bytes]) -> Children:
    """Of each node of the older operators, by its place, the places of its children."""
    trees, ids, true, false = (
        numbers.get(f"nodes_{name}", ())
        for name in ("treeids", "nodeids", "truenodeids", "falsenodeids")
    )
    places = {named: place for place, named in enumerate(zip(trees, ids, strict=False))}
    found = {}
    for place, (tree, mode, *below) in enumerate(zip(trees, modes, true, false, strict=False)):
        if mode != _LEAF:
            found[place] = tuple(places[tree, each] for each in below if (tree, each) in places)
    return found


def _by_place(numbers: Mapping[str, Sequence[int]]) -> Children:
    """The same of the newer operator, whose leaves have places of their own."""
    true, true_leaf, false, false_leaf = (
        numbers.get(f"nodes_{name}", ())
        for name in ("truenodeids", "trueleafs", "falsenodeids", "falseleafs")
    )
    pairs = zip(true, true_leaf, false, false_leaf, strict=False)
    return {
        place: tuple(child for child, is_leaf in ((one, a), (other, b)) if not is_leaf)
        for place, (one, a, other, b) in enumerate(pairs)
    }


def _is_deeper(children: Children, most: int) -> bool:
    """Whether a way along children has more than `most` nodes; one in a circle has.

    The nodes without children are taken away, again and again: those that are left after `most`
    times lie deeper.
    """
    parents: dict[int, list[int]] = {}
    left = {}
    for place, below in children.items():
        inner = [child for child in below if child in children]
        left[place] = len(inner)
        for child in inner:
            parents.setdefault(child, []).append(place)
    taken = [place for place, count in left.items() if not count]
    for _ in range(most):
        if not taken:
            break
        above = []
        for place in taken:
            del left[place]
            for parent in parents.get(place, ()):
                left[parent] -= 1
                if not left[parent]:
                    above.append(parent)
        taken = above
    return bool(left)
