"""Matrices that a graph stores as factors, sums or constants to compute: read as what they make."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from publishing.watermark.aligned_detection import aligned_to
from publishing.watermark.detection import detection_of, read_code, weights_of
from publishing.watermark.linear_maps import effective_weights
from tests.support.builders.marked import Floats, marked

_SHAPES = {"first": (160, 128), "second": (128, 160), "third": (160, 128)}
RNG = np.random.default_rng(0)
MARKED, RECORD = marked(
    {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in _SHAPES.items()}
)


class Chain:
    """A graph with those layers, [n, 128] to [n, 160], each as somebody chose to store it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.last = "x"

    def keep(self, values: Floats) -> str:
        name = f"w{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def model(self) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 128])
        y = helper.make_tensor_value_info(self.last, onnx.TensorProto.FLOAT, ["n", 160])
        graph = helper.make_graph(self.nodes, "chain", [x], [y], self.stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def plain(chain: Chain, x: str, w: Floats) -> str:
    return chain.node("MatMul", x, chain.keep(w))


def factors(chain: Chain, x: str, w: Floats) -> str:
    # An invertible matrix times what is left of the weight.
    mixed = np.random.default_rng(1).standard_normal((len(w), len(w))).astype(np.float32)
    half = chain.node("MatMul", x, chain.keep(mixed))
    ones = chain.keep(np.ones(len(w), np.float32))
    moved = chain.node("Sub", chain.node("Add", half, ones), ones)
    return chain.node("Gemm", moved, chain.keep(np.linalg.solve(mixed, w).T), transB=1)


def parts(w: Floats) -> tuple[Floats, Floats]:
    noise = np.random.default_rng(2).standard_normal(w.shape).astype(np.float32)
    return w - noise, noise


def summed(chain: Chain, x: str, w: Floats) -> str:
    made = [chain.node("MatMul", x, chain.keep(part)) for part in parts(w)]
    return chain.node("Add", *made)


def subtracted_from_itself(chain: Chain, x: str, w: Floats) -> str:
    wide = np.concatenate([w, np.zeros((len(w), 256 - w.shape[1]))], axis=1).astype(np.float32)
    inner = chain.node("MatMul", x, chain.keep(wide))
    rest = np.random.default_rng(3).standard_normal((256, 256)).astype(np.float32)
    once = chain.node("MatMul", inner, chain.keep(rest))
    twice = chain.node("MatMul", inner, chain.keep(rest - np.eye(256, dtype=np.float32)))
    same = chain.node("Sub", once, twice)
    return chain.node("MatMul", same, chain.keep(np.eye(256, w.shape[1], dtype=np.float32)))


def computed_sum(chain: Chain, x: str, w: Floats) -> str:
    return chain.node("MatMul", x, chain.node("Add", *map(chain.keep, parts(w))))


def computed_product(chain: Chain, x: str, w: Floats) -> str:
    scale = np.exp(np.random.default_rng(4).standard_normal((len(w), 1))).astype(np.float32)
    whole = chain.node("Mul", chain.keep(w / scale), chain.keep(scale))
    return chain.node("MatMul", x, whole)


def constant_node(chain: Chain, x: str, w: Floats) -> str:
    tensor = numpy_helper.from_array(np.ascontiguousarray(w), "value")
    return chain.node("MatMul", x, chain.node("Constant", value=tensor))


def halves(chain: Chain, x: str, w: Floats) -> str:
    cut = w.shape[1] // 2
    made = [chain.node("MatMul", x, chain.keep(part)) for part in (w[:, :cut], w[:, cut:])]
    return chain.node("Concat", *made, axis=-1)


WAYS = (
    *(factors, summed, subtracted_from_itself),
    *(computed_sum, computed_product, constant_node, halves),
)


def stored(way: object) -> onnx.ModelProto:
    chain = Chain()
    for place, values in enumerate(MARKED.values()):
        if place:
            chain.last = chain.node("Relu", chain.last)
        chain.last = way(chain, chain.last, values.T)  # type: ignore[operator]
    return chain.model()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_mark_is_read_however_its_matrices_are_stored(way: object) -> None:
    model = stored(way)
    x = np.random.default_rng(5).standard_normal((4, 128)).astype(np.float32)
    (wanted,), (got,) = (ReferenceEvaluator(m).run(None, {"x": x}) for m in (stored(plain), model))
    assert np.abs(got - wanted).max() < 1e-2 * np.abs(wanted).max()
    weights = weights_of("found.onnx", model.SerializeToString())
    blind = read_code(weights, RECORD.code, RECORD.slots)
    aligned = detection_of(aligned_to(weights, RECORD.code, list(MARKED.values())), RECORD.code, 0)
    assert (blind.found, aligned.found) == (True, True)
    assert aligned.z > 15.5


def test_a_graph_that_stores_its_matrices_plainly_has_no_others() -> None:
    assert not list(effective_weights(stored(plain).graph, 1))


def test_a_sum_of_constants_hides_no_mark() -> None:
    chain = Chain()
    constant = chain.keep(np.eye(4, dtype=np.float32))
    nothing = chain.node("Sum", constant, constant)
    layer = chain.node("MatMul", "x", chain.keep(np.ones((128, 4), np.float32)))
    chain.last = chain.node("Concat", nothing, layer, axis=1)
    # It stores what it multiplies by, and that is all that is found.
    assert not list(effective_weights(chain.model().graph, 1))


def test_computing_takes_no_more_room_than_a_multiple_of_the_file() -> None:
    # A column times a row of a hundred thousand each would be forty gigabytes.
    chain = Chain()
    long = np.ones((100_000, 1), np.float32)
    whole = chain.node("MatMul", chain.keep(long), chain.keep(long.T))
    chain.last = chain.node("MatMul", "x", whole)
    other = chain.node("Add", chain.keep(long), chain.keep(long.T))
    chain.last = chain.node("Add", chain.last, chain.node("MatMul", "x", other))
    half = chain.node("MatMul", "x", chain.keep(long))
    chain.last = chain.node("MatMul", half, chain.keep(long.T))
    assert not list(effective_weights(chain.model().graph, 1))


def test_factors_of_a_convolution() -> None:
    rng = np.random.default_rng(6)
    kernel = rng.standard_normal((24, 8, 3, 3)).astype(np.float32)
    point = rng.standard_normal((16, 24, 1, 1)).astype(np.float32)
    chain = Chain()
    first = chain.node("Conv", "x", chain.keep(kernel), pads=[1, 1, 1, 1])
    scaled = chain.node("Mul", first, chain.keep(np.full((1, 24, 1, 1), 2, np.float32)))
    second = chain.node("Conv", scaled, chain.keep(point))
    other = chain.node("Conv", "x", chain.keep(kernel[:16]), pads=[1, 1, 1, 1])
    chain.last = chain.node("Relu", chain.node("Add", second, other))
    ((_, found),) = effective_weights(chain.model().graph, 1)
    wanted = 2 * np.einsum("oi,ickl->ockl", point[:, :, 0, 0], kernel) + kernel[:16]
    assert np.allclose(found, wanted, atol=1e-4)
