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
from generation.models import int8
from generation.models.decoder import LanguageModel
from generation.models.int8 import Int8Embedding, Int8Linear, IntegerLinear, as_rounded
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import INT8, INT8_INTEGER
from tests.support.builders.models import tiny_decoder


@pytest.fixture(scope="module", params=[INT8, INT8_INTEGER])
def rounded(folder: Path, request: pytest.FixtureRequest) -> LanguageModel:
    return LanguageModel.read(folder, request.param)


@pytest.fixture(scope="module")
def int8_batches(rounded: LanguageModel, settings: GenerationSettings) -> Iterator[CausalBatches]:
    batches = CausalBatches(rounded.model, rounded.ends, settings)
    yield batches
    batches.close()


def size(decoder: LanguageModel) -> int:
    tensors = (*decoder.model.parameters(), *decoder.model.buffers())
    held = sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())
    linear = [m for m in decoder.model.modules() if isinstance(m, IntegerLinear)]
    return held + sum(m.shape[0] * m.shape[1] for m in linear if m.weight is None)


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
    matrices = [m for m in model.modules() if isinstance(m, Int8Linear | IntegerLinear)]
    # Those with the same input are one in integers.
    each = 7 if isinstance(matrices[0], Int8Linear) else 4
    assert len(matrices) == each * len(layers) + 1
    assert isinstance(model.model.embed_tokens, Int8Embedding)
    head, table = model.lm_head, model.model.embed_tokens
    if isinstance(head, IntegerLinear) and head.weight is None:
        # Kernels need it packed, beside the table that rows are read from.
        assert size(rounded) - table.weight.nbytes < 0.3 * size(decoder)
    else:
        assert head.weight.data_ptr() == table.weight.data_ptr()
        assert size(rounded) < 0.3 * size(decoder)


def test_a_product_is_that_of_what_the_integers_stand_for(
    decoder: LanguageModel, rounded: LanguageModel
) -> None:
    plain = decoder.model.model.layers[0].mlp.up_proj
    stands = torch.from_numpy(as_rounded(plain.weight.numpy()))
    x = torch.randn(3, 5, plain.in_features, generator=torch.Generator().manual_seed(1))
    found = rounded.model.model.layers[0].mlp.up_proj(x)
    torch.testing.assert_close(found, x @ stands.T, rtol=1e-4, atol=5e-5)
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


def test_a_row_is_the_same_alone_and_in_a_batch(
    decoder: LanguageModel, rounded: LanguageModel
) -> None:
    matrix = rounded.model.model.layers[1].mlp.down_proj
    wide = decoder.model.model.layers[1].mlp.down_proj.in_features
    x = torch.randn(150, wide, generator=torch.Generator().manual_seed(2))
    alone = torch.cat([matrix(row[None]) for row in x])
    torch.testing.assert_close(matrix(x), alone, rtol=1e-5, atol=1e-6)
    if isinstance(matrix, IntegerLinear):
        assert torch.equal(matrix(x), alone)


def test_integers_have_the_same_sums_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = torch.Generator().manual_seed(4)
    # As large as sums get, and as unlike.
    weight = torch.randint(-127, 128, (96, 4864), dtype=torch.int8, generator=chance)
    weight[0] = 127
    scale, bias = torch.rand(96, generator=chance), torch.randn(96, generator=chance)
    x = torch.randn(7, 4864, generator=chance)
    x[0], x[1] = 1.0, 0.0
    with_kernels = IntegerLinear(weight, scale, bias)(x)
    monkeypatch.setattr(int8, "has_kernels", lambda: False)
    assert torch.equal(IntegerLinear(weight, scale, bias)(x), with_kernels)
    assert torch.equal(with_kernels[1], bias)


def test_matrices_with_the_same_input_are_multiplied_once(
    decoder: LanguageModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = LanguageModel.read(folder, INT8_INTEGER).model.model.layers[0].self_attn
    given: list[torch.Tensor] = []
    linear = next(m for m in layer.q_proj.modules() if isinstance(m, IntegerLinear))
    forward = linear.forward
    monkeypatch.setattr(linear, "forward", lambda x: given.append(x) or forward(x))
    x = torch.randn(3, linear.shape[1], generator=torch.Generator().manual_seed(5))
    parts = [layer.q_proj, layer.k_proj, layer.v_proj]
    found = [part(x) for part in parts]
    assert len(given) == 1
    plain = decoder.model.model.layers[0].self_attn
    for part, name in zip(found, ("q_proj", "k_proj", "v_proj"), strict=True):
        module = getattr(plain, name)
        stands = torch.from_numpy(as_rounded(module.weight.numpy()))
        torch.testing.assert_close(part, x @ stands.T + module.bias, rtol=1e-4, atol=5e-5)
    # An input that comes in another order, or again, is multiplied anew.
    assert not torch.equal(parts[1](-x), found[1])
    assert torch.equal(parts[1](x), found[1])
    assert torch.equal(parts[1](x), found[1])
    assert len(given) > 2


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
