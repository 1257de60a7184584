"""Attention in windows: written into a graph block by block, it says what torch says."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from inference.runtime.response_contract import OWN_PREDICTION, TEXT_INPUTS
from training.export.classifier import TRACED_ROWS, TRACED_TOKENS, export
from training.export.text import depth, export_text_response, respond
from training.models.encoder import EncoderSize
from training.models.long_encoder import AttentionReach, LongTextClassifier
from training.models.window_attention import in_windows

pytestmark = pytest.mark.slow

REACH = (16, 8, 2)
WIDTH, HEADS = 12, 3


def answered(call: Any, _: Any, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the attention over three projections of x, and its sum's gradient by each."""
    parts = [call(x + shift).unflatten(-1, (HEADS, -1)).transpose(1, 2) for shift in (0, 1, 2)]
    query, key, value = parts = [part.detach().requires_grad_(True) for part in parts]
    told = in_windows(query, key, value, mask, REACH)
    weights = torch.arange(1.0, WIDTH // HEADS + 1)
    slopes = torch.autograd.grad((told.square() * weights).sum(), parts)
    return told, *slopes


@pytest.fixture(scope="module")
def module() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Linear(WIDTH, WIDTH).eval()


@pytest.fixture(scope="module")
def graph(module: torch.nn.Module) -> bytes:
    example = (
        torch.rand(TRACED_ROWS, TRACED_TOKENS, WIDTH),
        torch.ones(TRACED_ROWS, TRACED_TOKENS, dtype=torch.int64),
    )
    tokens = torch.export.Dim("tokens", min=2, max=512)
    names = ("told", "by_query", "by_key", "by_value")
    columns = {"x": tokens, "mask": tokens}
    return export(module, answered, example, ("x", "mask"), names, columns)


@pytest.mark.parametrize(
    "lengths", [(2, 1), (5, 3), (8,), (9, 8), (16, 9), (17, 2), (24, 17), (61, 40)]
)
def test_the_graph_says_what_torch_says(
    module: torch.nn.Module, graph: bytes, lengths: tuple[int, ...]
) -> None:
    torch.manual_seed(2)
    x = torch.randn(len(lengths), max(lengths), WIDTH)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).to(torch.int64)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    told = session.run(None, {"x": x.numpy(), "mask": mask.numpy()})
    for one, other in zip(told, answered(module, None, x, mask), strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), atol=2e-5, rtol=1e-4)


def test_nothing_of_the_operators_is_left(graph: bytes) -> None:
    model = onnx.load_model_from_string(graph)
    assert {each.domain for each in model.opset_import} == {""}
    assert {node.op_type for node in model.graph.node} >= {"Scan", "Softmax"}


def test_torch_differentiates_it() -> None:
    torch.manual_seed(3)
    parts = [torch.randn(2, 1, 21, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = torch.ones(2, 21, dtype=torch.int64)
    mask[1, 15:] = 0
    for reach in (REACH, (32, 8, 1), (4, 4, 1)):
        assert torch.autograd.gradcheck(
            lambda *x, r=reach: in_windows(x[0], x[1], x[2], mask, r), parts
        )


@pytest.fixture(scope="module")
def encoder() -> LongTextClassifier:
    torch.manual_seed(4)
    size = EncoderSize(vocabulary=40, positions=64, width=8, inner=16, layers=2, heads=2)
    return LongTextClassifier(size, 2, AttentionReach(whole=16, block=8)).eval()


@pytest.fixture(scope="module")
def response(encoder: LongTextClassifier) -> onnxruntime.InferenceSession:
    graph = export_text_response(encoder)
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.mark.slow
@pytest.mark.parametrize("lengths", [(12, 5), (17, 9), (61, 40)])
def test_a_text_is_screened_in_its_windows(
    encoder: LongTextClassifier, response: onnxruntime.InferenceSession, lengths: tuple[int, ...]
) -> None:
    ids = torch.randint(0, 40, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).to(torch.int64)
    label, eps = torch.full((len(lengths),), OWN_PREDICTION), torch.tensor(0.1)
    given = (ids, mask, label, eps)
    fed = {name: each.numpy() for name, each in zip(TEXT_INPUTS, given, strict=True)}
    logits, moved, features = response.run(None, fed)
    # By blocks in torch, where the graph is traced with operators.
    expected = respond(encoder, *given, depth=depth(encoder))
    for one, other in zip((logits, features), (expected[0], expected[2]), strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), atol=1e-4, rtol=1e-3)
    assert (moved == expected[1].detach().numpy()).mean() > 0.99
