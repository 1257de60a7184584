"""Attention whose range follows the text's length: in torch, and as a graph."""

import io
from contextlib import nullcontext
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch.utils._python_dispatch import TorchDispatchMode

from inference.engine.graphs import find_embeddings
from inference.runtime.graph_rewrites import with_outputs
from training.export.long_text import export_long_serving
from training.models.encoder import EncoderSize, TextClassifier
from training.models.long_encoder import (
    AttentionReach,
    FrequentWordEmbedding,
    LongTextClassifier,
    by_blocks,
    in_operators,
    lengthened,
)

SIZE = EncoderSize(vocabulary=40, positions=64, width=16, inner=32, layers=2, heads=2)


def classifier(size: EncoderSize = SIZE) -> TextClassifier:
    torch.manual_seed(1)
    return TextClassifier(size, 3).eval()


def rows(*lengths: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(0, SIZE.vocabulary, (len(lengths), max(lengths)), generator=generator)
    held = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.where(held, ids, -1)


@pytest.mark.parametrize(
    "reach", [AttentionReach(64, 8, 1), AttentionReach(8, 16, 1), AttentionReach(8, 16, 3)]
)
def test_where_windows_cover_all_it_is_full_attention(reach: AttentionReach) -> None:
    full = classifier()
    windows = lengthened(full, 64, reach).eval()
    texts = rows(30, 19, 3)
    told = [net.answers(texts)[1] for net in (full, windows)]
    torch.testing.assert_close(*told, atol=1e-5, rtol=0)
    for net in (full, windows):
        net.train().answers(texts)[1].square().sum().backward()
    for (name, one), (_, other) in zip(
        full.named_parameters(), windows.named_parameters(), strict=True
    ):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=0, msg=name)


def test_a_token_sees_its_neighbours_and_the_first_ones() -> None:
    layer = classifier().layers[0]
    x = torch.rand(6, 1, 8, SIZE.width)
    bias = torch.zeros(6, 1, 8)
    other = x.clone()
    other[4, 0, 3] += 1
    before, after = (by_blocks(layer, each, bias, 1).detach() for each in (x, other))
    moved = (before != after).any(-1)[:, 0]
    assert moved[0].tolist() == [True, *[False] * 7]
    assert not moved[1:3].any()
    assert moved[3:].all()


class Largest(TorchDispatchMode):
    """The most numbers that a tensor held."""

    numbers = 0

    def __torch_dispatch__(self, function, types, given=(), named=None):  # type: ignore[no-untyped-def]
        found = function(*given, **(named or {}))
        if isinstance(found, torch.Tensor):
            self.numbers = max(self.numbers, found.numel())
        return found


def test_no_tensor_grows_with_the_square_of_the_length() -> None:
    size = EncoderSize(vocabulary=40, positions=1024, width=16, inner=32, layers=1, heads=2)
    full = classifier(size)
    windows = lengthened(full, 1024, AttentionReach(whole=64, block=32)).eval()
    grown = []
    for net in (full, windows):
        largest = []
        for length in (512, 1024):
            with torch.no_grad(), Largest() as seen:
                net.answers(torch.zeros(1, length, dtype=torch.int64))
            largest.append(seen.numbers)
        grown.append(largest[1] / largest[0])
    assert grown == [4, 2]


@pytest.mark.parametrize("lengths", [(5, 2), (16, 9), (17, 30), (64,), (47, 40, 1)])
def test_the_graph_says_what_torch_says(
    lengths: tuple[int, ...], session: tuple[LongTextClassifier, Any]
) -> None:
    assert_same(*session, rows(*lengths))


def assert_same(
    windows: LongTextClassifier, graph: onnxruntime.InferenceSession, texts: torch.Tensor
) -> None:
    ids, mask = fed(texts)
    told = graph.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(told, windows(windows(ids), mask).numpy(), atol=1e-5)


def fed(texts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, at one width for all."""
    return texts.clamp(min=0), (texts >= 0).to(torch.int64)


@pytest.fixture(scope="module")
def session() -> tuple[LongTextClassifier, onnxruntime.InferenceSession]:
    windows = lengthened(classifier(), 64, AttentionReach(whole=24, block=8, first=2)).eval()
    graph = export_long_serving(windows)
    return windows, onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def test_few_words_stay_few() -> None:
    few = classifier()
    few.words = FrequentWordEmbedding(torch.arange(3, 20), SIZE.vocabulary, SIZE.width)
    windows = lengthened(few, 64, AttentionReach(whole=24, block=8)).eval()
    graph = onnxruntime.InferenceSession(
        export_long_serving(windows), providers=["CPUExecutionProvider"]
    )
    assert_same(windows, graph, rows(33, 20))


def test_the_graph_holds_each_parameter_once_by_its_name() -> None:
    windows = lengthened(classifier(), 64, AttentionReach(24, 8)).eval()
    graph = onnx.load(io.BytesIO(export_long_serving(windows))).graph
    held = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    parameters = {name: each.detach().numpy() for name, each in windows.named_parameters()}
    for name, value in parameters.items():
        assert np.array_equal(held[name], value), name
    assert sum(value.size for value in held.values()) < 100 + sum(
        value.size for value in parameters.values()
    )


def test_a_text_reaches_as_far_as_it_does_alone() -> None:
    windows = lengthened(classifier(), 64, AttentionReach(whole=16, block=4)).eval()
    texts = rows(40, 7, 16, 17, 60)
    together = windows.answers(texts)
    for place, text in enumerate(texts):
        for all_of_them, alone in zip(together, windows.answers(text[None]), strict=True):
            torch.testing.assert_close(all_of_them[place], alone[0], atol=1e-5, rtol=0)
    # Filled up to 64, those of up to 16 would reach by windows.
    assert (windows(windows(fed(texts)[0]), fed(texts)[1]) - together[1]).abs()[2].max() > 1e-3


@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("lengths", [(12, 5), (16,), (17, 9), (64, 40)])
def test_one_operator_a_layer_says_the_same(lengths: tuple[int, ...], first: int) -> None:
    windows = lengthened(classifier(), 64, AttentionReach(whole=16, block=8, first=first)).eval()
    ids, mask = fed(rows(*lengths))
    slopes = []
    for within in (nullcontext(), in_operators(windows)):
        with within:
            x = windows(ids).detach().requires_grad_(True)
            windows(x, mask).square().sum().backward()
            slopes.append((windows(x, mask), x.grad))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert not windows.operators


def test_screening_finds_the_embeddings_of_the_graph() -> None:
    windows = lengthened(classifier(), 64, AttentionReach(24, 8)).eval()
    graph = export_long_serving(windows)
    name = find_embeddings(graph, "input_ids")
    ids, mask = fed(rows(33, 20))
    shown = onnxruntime.InferenceSession(
        with_outputs(graph, {name: 3}), providers=["CPUExecutionProvider"]
    )
    (words,) = shown.run([name], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
    np.testing.assert_array_equal(words, windows(ids).detach().numpy())


def test_what_is_known_of_positions_is_repeated() -> None:
    short = classifier()
    longer = lengthened(short, 160, AttentionReach(64, 32))
    known = short.positions.weight
    assert torch.equal(longer.positions.weight, torch.cat((known, known, known[:32])))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="whole blocks"):
        LongTextClassifier(SIZE, 2, AttentionReach(block=48))
    with pytest.raises(ValueError, match="training mode"):
        export_long_serving(lengthened(classifier(), 64, AttentionReach(24, 8)).train())
