"""Weights of 4 bits take half a byte each on disk, and answer as before; embeddings answer as their
rounded values do, and the file passes what a version's files pass.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.four_bits import BLOCK, LEAST_WEIGHTS, in_blocks, store_in_four_bits
from inference.runtime.graph_rewrites import steady_sums
from publishing.watermark.carrier_weights import read_carriers
from registry.formats.format_check import check_file
from sealgate.reasons import Reason, SealgateError
from training.models.encoder import EncoderSize, TextClassifier
from training.models.students import Convolution, Perceptron
from training.steps import quantization

pytestmark = pytest.mark.slow


def rounded(net: torch.nn.Module, rows: torch.Tensor, bits: int) -> bytes:
    """The graph of a network after its ranges are recorded on the rows."""
    prepared = quantization.prepare(net, rows, bits, trained=False)
    with torch.no_grad():
        prepared.train().answers(rows)
    return quantization.to_onnx(prepared, net, rows)


def answers(graph: bytes, rows: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    feeds = dict(zip(names, (rows.numpy(), np.ones(rows.shape, np.int64)), strict=False))
    found: np.ndarray = session.run(None, feeds)[0]
    return found


def one_layer(weight: np.ndarray, opset: int = 21, zero: int = 0) -> bytes:
    """A graph of one product with a quantized weight [n, m]."""
    tensors = [
        numpy_helper.from_array(weight, "w"),
        numpy_helper.from_array(np.ones(len(weight), np.float32), "scale"),
        numpy_helper.from_array(np.full(len(weight), zero, np.int8), "zero"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["exact"], axis=0),
        helper.make_node("MatMul", ["x", "exact"], ["logits"]),
    ]
    shaped = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None])
        for name in ("x", "logits")
    ]
    graph = helper.make_graph(nodes, "one", shaped[:1], shaped[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    return bytes(model.SerializeToString())


_DRAWN = torch.Generator().manual_seed(1)
NETWORKS: dict[str, tuple[Callable[[], torch.nn.Module], torch.Tensor]] = {
    "perceptron": (lambda: Perceptron(12, 33, 2, 3), torch.rand(16, 12, generator=_DRAWN)),
    "convolution": (
        lambda: Convolution((1, 8, 8), 16, 2, 3),
        torch.rand(16, 1, 8, 8, generator=_DRAWN),
    ),
    "encoder": (
        lambda: TextClassifier(EncoderSize(50, 32, 16, 32, 1, 2), 2),
        torch.randint(0, 50, (16, 6), generator=_DRAWN),
    ),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_network_in_four_bits_answers_as_in_bytes(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    make, rows = NETWORKS[kind]
    graph = rounded(make(), rows, 4)
    packed = store_in_four_bits(graph)
    assert np.array_equal(answers(packed, rows), answers(graph, rows))
    stored = onnx.load_from_string(packed).graph.initializer
    weights = [each for each in stored if each.data_type == TensorProto.INT4]
    assert weights
    assert not any(each.data_type == TensorProto.INT8 for each in stored)
    count = [int(np.prod(each.dims)) for each in weights]
    assert [len(each.raw_data) for each in weights] == [-(-each // 2) for each in count]
    (tmp_path / "packed.onnx").write_bytes(packed)
    onnx.checker.check_model(tmp_path / "packed.onnx")
    assert len(graph) - (tmp_path / "packed.onnx").stat().st_size > sum(count) // 2


IDS = torch.arange(240).view(16, 15)


def with_tables() -> bytes:
    """An encoder's graph, whose embeddings of words and positions are large."""
    torch.manual_seed(1)
    return rounded(TextClassifier(EncoderSize(300, 64, 48, 32, 1, 2), 2), IDS, 4)


def test_embeddings_answer_as_their_rounded_values_do() -> None:
    model = onnx.load_from_string(with_tables())
    packed = store_in_four_bits(model.SerializeToString())
    tables = 0
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LEAST_WEIGHTS:
            values = numpy_helper.to_array(tensor)
            whole, scales = in_blocks(values)
            exact = whole * np.repeat(scales, BLOCK, 1)[:, : values.shape[1]]
            assert np.abs(exact - values).max() < np.abs(values).max() / 4
            tensor.CopyFrom(numpy_helper.from_array(exact, tensor.name))
            tables += 1
    assert tables == 2
    assert np.allclose(answers(packed, IDS), answers(model.SerializeToString(), IDS), atol=1e-5)
    stored = onnx.load_from_string(packed).graph
    large = [each for each in stored.initializer if np.prod(each.dims) >= LEAST_WEIGHTS]
    assert {each.data_type for each in large} == {TensorProto.INT4}
    assert [node.op_type for node in stored.node].count("GatherBlockQuantized") == 1


def test_the_file_passes_the_checks_of_a_version() -> None:
    graph = with_tables()
    packed = store_in_four_bits(graph)
    check_file("model.onnx", packed)
    assert np.allclose(answers(steady_sums(packed), IDS), answers(packed, IDS), atol=1e-5)
    before, after = (read_carriers(onnx.load_from_string(each)) for each in (graph, packed))
    assert [each.values.shape for each in after] == [each.values.shape for each in before]
    for was, now in zip(before, after, strict=True):
        assert np.abs(was.values - now.values).max() <= np.abs(was.values).max() / 4


def test_nothing_is_kept_but_what_computes() -> None:
    graph = onnx.load_from_string(rounded(Perceptron(12, 33, 2, 3), torch.rand(16, 12), 4))
    graph.doc_string, graph.graph.node[0].doc_string = "said", "more"
    found = onnx.load_from_string(store_in_four_bits(graph.SerializeToString())).graph
    assert not any(node.name or node.doc_string or node.metadata_props for node in found.node)
    assert [each.name for each in (*found.input, *found.output)] == ["x", "logits"]
    assert max(len(name) for node in found.node for name in node.output) == len("logits")


def test_blocks_take_the_scale_of_the_least_error() -> None:
    values = np.zeros((2, BLOCK + 3), np.float32)
    values[0, :BLOCK] = np.linspace(-1, 1, BLOCK)
    values[1, BLOCK:] = (7, -7, 3)
    whole, scales = in_blocks(values)
    assert whole.shape == values.shape
    assert scales.shape == (2, 2)
    exact = whole * np.repeat(scales, BLOCK, 1)[:, : values.shape[1]]
    assert np.array_equal(exact[1], values[1])
    plain = np.rint(values[0] * 7) / 7
    assert np.square(exact[0] - values[0]).sum() <= np.square(plain - values[0]).sum()


def test_every_value_of_four_bits_comes_back() -> None:
    weight = np.arange(-8, 7, dtype=np.int8).reshape(3, 5)
    packed = store_in_four_bits(one_layer(weight))
    assert np.array_equal(answers(packed, torch.eye(3)), weight)


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (one_layer(np.full((2, 2), 8, np.int8)), "more than 4 bits"),
        (one_layer(np.full((2, 2), -9, np.int8)), "more than 4 bits"),
        (one_layer(np.ones((2, 2), np.int8), zero=1), "zero point"),
        (one_layer(np.ones((2, 2), np.int8), opset=20), "opset 20"),
        (one_layer(np.ones((2, 2), np.float32)), "no quantized weights"),
    ],
)
def test_what_does_not_fit_is_refused(graph: bytes, said: str) -> None:
    with pytest.raises(SealgateError) as refused:
        store_in_four_bits(graph)
    assert refused.value.reason is Reason.FORMAT_REFUSED
    assert said in refused.value.detail
