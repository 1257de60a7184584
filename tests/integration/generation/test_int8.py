"""Weights of eight bits: what they compute, what they take, and that answers stay the same."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchao.quantization import Int8Tensor
from torchao.quantization.granularity import PerRow

from generation.batching.causal_batches import CausalBatches
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from generation.models.int8 import Int8Embedding, Int8Linear, as_rounded
from inference.llm.request import INT8, Sampling, SamplingRequest
from tests.support.builders.models import tiny_decoder


@pytest.fixture(scope="module")
def rounded(folder: Path) -> LanguageModel:
    return LanguageModel.read(folder, INT8)


@pytest.fixture(scope="module")
def int8_batches(rounded: LanguageModel, settings: GenerationSettings) -> Iterator[CausalBatches]:
    batches = CausalBatches(rounded.model, rounded.ends, settings)
    yield batches
    batches.close()


def size(decoder: LanguageModel) -> int:
    tensors = (*decoder.model.parameters(), *decoder.model.buffers())
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def test_answers_are_generates_on_the_same_weights(
    rounded: LanguageModel, int8_batches: CausalBatches
) -> None:
    for prompt in tiny_decoder.prompts(6):
        ids = rounded.prompt_ids(SamplingRequest(prompt.encode(), False, Sampling(1)), 96)
        with int8_batches.answer(ids, Sampling(16), time.monotonic() + 60) as answer:
            assert list(answer) == rounded.greedy(ids, 16)


def test_every_matrix_is_rounded_and_takes_a_quarter(
    decoder: LanguageModel, rounded: LanguageModel
) -> None:
    model = rounded.model
    layers = model.model.layers
    matrices = [m for m in model.modules() if isinstance(m, Int8Linear)]
    assert len(matrices) == 7 * len(layers) + 1
    assert isinstance(model.model.embed_tokens, Int8Embedding)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert size(rounded) < 0.3 * size(decoder)


def test_a_product_is_that_of_what_the_integers_stand_for(
    decoder: LanguageModel, rounded: LanguageModel
) -> None:
    plain = decoder.model.model.layers[0].mlp.up_proj
    stands = torch.from_numpy(as_rounded(plain.weight.numpy()))
    x = torch.randn(3, 5, plain.in_features, generator=torch.Generator().manual_seed(1))
    found = rounded.model.model.layers[0].mlp.up_proj(x)
    torch.testing.assert_close(found, x @ stands.T, rtol=1e-4, atol=1e-5)
    assert (stands - plain.weight).abs().max() <= plain.weight.abs().max() / 127
    ids = torch.tensor([[3, 4, 3]])
    table = torch.from_numpy(as_rounded(decoder.model.model.embed_tokens.weight.numpy()))
    torch.testing.assert_close(rounded.model.model.embed_tokens(ids), table[ids])


def test_blocks_are_rounded_as_the_whole_is() -> None:
    # More than one block, the last one smaller.
    weights = torch.randn(1500, 900, generator=torch.Generator().manual_seed(3))
    whole = Int8Tensor.from_hp(weights, PerRow())
    stands = whole.qdata.float() * whole.scale.reshape(-1, 1)
    assert torch.equal(torch.from_numpy(as_rounded(weights.numpy())), stands)


def test_a_row_is_the_same_alone_and_in_a_batch(rounded: LanguageModel) -> None:
    matrix = rounded.model.model.layers[1].mlp.down_proj
    x = torch.randn(48, matrix.weight.shape[1], generator=torch.Generator().manual_seed(2))
    alone = torch.cat([matrix(row[None]) for row in x])
    torch.testing.assert_close(matrix(x), alone, rtol=1e-5, atol=1e-6)


def test_perplexity_hardly_moves(
    folder: Path, decoder: LanguageModel, rounded: LanguageModel
) -> None:
    before, after = (tiny_decoder.perplexity(folder, each.model) for each in (decoder, rounded))
    assert after == pytest.approx(before, rel=0.01)


def test_a_matrix_is_rounded_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, whole = [], Int8Tensor.from_hp

    def counted(weights: torch.Tensor, *more: object) -> Int8Tensor:
        sizes.append(weights.nbytes)
        return whole(weights, *more)

    monkeypatch.setattr(Int8Tensor, "from_hp", counted)
    as_rounded(torch.ones(20_000, 64).numpy())
    assert sum(sizes) == 20_000 * 64 * 4
    assert max(sizes) <= 2 << 20
