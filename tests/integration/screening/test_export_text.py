"""Graphs of a text model from torch: the same numbers, and each parameter once."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from inference.runtime import response_contract
from inference.runtime.graph_rewrites import keep_outputs
from inference.text import tokens
from inference.text.tokens import NO_TOKEN
from tests.support.builders.models.demo_models import opened
from training.demo.spam import encoded
from training.export.reference import FEATURES as OF_LAYER
from training.export.reference import CleanReference, watched
from training.export.response import LayerTap
from training.export.text import FEATURES, export_text_response, export_text_serving, respond
from training.export.word_votes import FEATURES as OF_WORDING
from training.export.word_votes import WordVotes
from training.models.encoder import EncoderSize, TextClassifier, load_bert

SIZE = EncoderSize(vocabulary=40, positions=48, width=16, inner=24, layers=1, heads=2)


def module(seed: int = 3, layers: int = 1) -> TextClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = TextClassifier(replace(SIZE, layers=layers), 3).eval()
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    return made


@pytest.fixture(scope="module")
def pair() -> tuple[TextClassifier, bytes, bytes]:
    made = module(layers=2)
    return made, export_text_serving(made), export_text_response(made)


def rows(count: int, width: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, width + 1, (count, 1))
    ids = rng.integers(0, SIZE.vocabulary, (count, width))
    return np.where(np.arange(width) < lengths, ids, NO_TOKEN)


def screened(graph: bytes, x: np.ndarray, eps: float = 0.05) -> list[np.ndarray]:
    own = np.full(len(x), response_contract.OWN_PREDICTION, np.int64)
    feeds = {
        **tokens.feeds(x),
        response_contract.LABEL: own,
        response_contract.EPS: np.array(eps, np.float32),
    }
    return opened(graph).run(list(response_contract.OUTPUTS), feeds)


@pytest.mark.long
@pytest.mark.parametrize(("count", "width"), [(1, 2), (3, 12), (8, 7)])
def test_both_graphs_are_torch_s(
    pair: tuple[TextClassifier, bytes, bytes], count: int, width: int
) -> None:
    made, serving, response = pair
    x = rows(count, width)
    ids, mask = (torch.from_numpy(value) for value in tokens.feeds(x).values())
    start = made(ids).requires_grad_(True)
    expected = made(start, mask)
    loss = functional.cross_entropy(expected, expected.argmax(1), reduction="sum")
    (slope,) = torch.autograd.grad(loss, start)
    (served,) = opened(serving).run(None, tokens.feeds(x))
    logits, moved, features = screened(response, x)
    for found in (served, logits):
        assert np.abs(found - expected.detach().numpy()).max() <= 1e-5
    sure = slope.abs().numpy() > 1e-6
    step = (start + 0.05 * slope.sign()).detach().numpy()
    assert np.abs(moved - step)[sure].max() <= 1e-5
    assert features.shape == (count, FEATURES)
    assert np.isfinite(features).all()


@pytest.mark.long
def test_what_fills_a_row_up_changes_nothing(pair: tuple[TextClassifier, bytes, bytes]) -> None:
    x = rows(6, 7)
    before = screened(pair[2], x)
    after = screened(pair[2], tokens.resized(x, 12))
    assert np.abs(before[0] - after[0]).max() <= 1e-5
    assert np.allclose(before[2], after[2], rtol=1e-4, atol=1e-4)
    # There is nowhere to go from a place without a token.
    still = screened(pair[2], tokens.resized(x, 12), 0.0)[1]
    held = (tokens.resized(x, 12) != NO_TOKEN)[:, :, np.newaxis]
    assert (np.where(held, 0, after[1] - still) == 0).all()


@pytest.mark.long
def test_each_parameter_is_there_once(pair: tuple[TextClassifier, bytes, bytes]) -> None:
    made, serving, response = pair
    response_contract.check_same_parameters(serving, response)
    names = {name for name, value in made.named_parameters() if value.dim() >= 2}
    for graph in (serving, response):
        matrices = {
            tensor.name
            for tensor in onnx.load_model_from_string(graph).graph.initializer
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
        }
        assert matrices == names


def readers(graph: onnx.GraphProto, name: str) -> int:
    """How many products a weight enters, as it is or turned."""
    same = {name} | {
        output for node in graph.node if list(node.input) == [name] for output in node.output
    }
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    return sum(bool(same & set(node.input)) for node in products)


@pytest.mark.long
def test_features_begin_behind_the_first_layer_of_two(
    pair: tuple[TextClassifier, bytes, bytes],
) -> None:
    """The first layer runs once, with no gradient through it; FGSM's step still starts at the
    embeddings.
    """
    made, _, response = pair
    features = onnx.load_model_from_string(
        keep_outputs(response, (response_contract.FEATURES,))
    ).graph
    counts = [readers(features, f"layers.{at}.inner.weight") for at in range(2)]
    # Forward, backward, and the steps, which stand side by side.
    assert counts == [1, 3]
    step = onnx.load_model_from_string(keep_outputs(response, (response_contract.X_ADV,))).graph
    assert [readers(step, f"layers.{at}.inner.weight") for at in range(2)] == [2, 2]
    x = rows(5, 9)
    feeds: Any = [torch.from_numpy(value) for value in tokens.feeds(x).values()]
    own = torch.full((5,), response_contract.OWN_PREDICTION)
    expected = respond(made, *feeds, own, torch.tensor(0.05), depth=1)  # type: ignore[call-arg]
    for found, value in zip(screened(response, x), expected, strict=True):
        assert np.abs(found - value.detach().numpy()).max() <= 1e-3


@pytest.mark.long
def test_what_describes_training_texts_stands_in_the_graph(
    pair: tuple[TextClassifier, bytes, bytes],
) -> None:
    """Layers and words: the features are torch's, in whatever company and however filled up."""
    made, serving, _ = pair
    seen, x = rows(90, 12, seed=2), rows(6, 9)
    vectors, y = encoded(made, seen), np.arange(90) % 3
    reference = CleanReference.fit([vectors], y, 3)
    wording = WordVotes.fit(seen, y, SIZE.vocabulary, 3)
    graph = export_text_response(made, reference, wording)
    response_contract.check_same_parameters(serving, graph)
    feeds: Any = [torch.from_numpy(value) for value in tokens.feeds(x).values()]
    given = *feeds, torch.full((6,), response_contract.OWN_PREDICTION), torch.tensor(0.05)
    with watched(made) as entered:
        expected = respond(made, *given, LayerTap(reference, entered), 1, wording)[2].numpy()  # type: ignore[call-arg]
    assert expected.shape == (6, FEATURES + OF_LAYER + OF_WORDING)
    found = screened(graph, x)[2]
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3)
    alone = np.concatenate([screened(graph, row[np.newaxis])[2] for row in x])
    assert np.allclose(alone, found, rtol=1e-3, atol=1e-3)
    assert np.allclose(screened(graph, tokens.resized(x, 12))[2], found, rtol=1e-3, atol=1e-3)


def test_weights_are_taken_from_bert_s_names() -> None:
    """Each of the encoder's weights, the two segments' first joined to the positions'."""
    made, other = module(3), module(4)
    state = {name: value.clone() for name, value in other.named_parameters()}
    theirs = {
        "embeddings.word_embeddings.weight": state["words.weight"],
        "embeddings.position_embeddings.weight": state["positions.weight"] - 2,
        "embeddings.token_type_embeddings.weight": torch.full((2, SIZE.width), 2.0),
    }
    names = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "mixed": "attention.output.dense",
        "mixed_norm": "attention.output.LayerNorm",
        "inner": "intermediate.dense",
        "outer": "output.dense",
        "outer_norm": "output.LayerNorm",
    }
    for kind in ("weight", "bias"):
        theirs[f"embeddings.LayerNorm.{kind}"] = state[f"norm.{kind}"]
        for ours, name in names.items():
            theirs[f"encoder.layer.0.{name}.{kind}"] = state[f"layers.0.{ours}.{kind}"]
    load_bert(made, theirs)
    ids, mask = (torch.from_numpy(value) for value in tokens.feeds(rows(4, 9)).values())
    assert torch.allclose(made.encode(made(ids), mask), other.encode(other(ids), mask), atol=1e-5)
    del theirs["encoder.layer.0.output.dense.bias"]
    with pytest.raises(KeyError):
        load_bert(made, theirs)


def test_what_cannot_be_exported_is_refused() -> None:
    with pytest.raises(ValueError, match="training mode"):
        export_text_serving(module().train())
    short = TextClassifier(replace(SIZE, positions=12), 3).eval()
    with pytest.raises(ValueError, match="29 tokens or fewer"):
        export_text_serving(short)
