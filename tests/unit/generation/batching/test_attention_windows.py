"""Attention in windows gives what an explicit mask gives, and keeps no more than it must."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from generation.batching.attention_windows import (
    HeadCaches,
    LayerCache,
    LayerWindow,
    install,
    installed,
    layer_windows,
)
from inference.llm.terms import WHOLE, AttentionWindows
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import random_decoder
from tests.support.builders.models.random_decoder import KV_HEADS, WIDTH

WINDOWS = AttentionWindows(3, (8, WHOLE, 21))
BY_HEAD = AttentionWindows(3, (8, WHOLE, 21, 21, WHOLE, 30), KV_HEADS)
IDS = random_decoder.ids(150)
PIECES = (
    (150,),
    (1,) * 150,
    (40, 1, 1, 7, 1, 60) + (1,) * 40,
    (2, 1, 147),
)


def explicit(tokens: int, sink: int, window: int) -> torch.Tensor:
    """[tokens, tokens], added to scores; written out on purpose."""
    mask = torch.full((tokens, tokens), -torch.inf)
    for later in range(tokens):
        for earlier in range(later + 1):
            if window == WHOLE or later - earlier < window or earlier < sink:
                mask[later, earlier] = 0.0
    return mask


def reference(kind: str, ids: Sequence[int], windows: AttentionWindows) -> torch.Tensor:
    """Logits by the library's own eager attention, the four heads of each layer given masks."""
    model = random_decoder.make(kind, "eager")
    for at, layer in enumerate(model.model.layers):
        masks = [explicit(len(ids), windows.sink, window) for window in windows.of_layer(at)]
        mask = torch.stack(masks).repeat_interleave(4 // len(masks), 0)[None]
        layer.self_attn.forward = partial(_masked, layer.self_attn.forward, mask)
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def _masked(forward: Callable[..., Any], mask: torch.Tensor, **named: Any) -> Any:
    return forward(**(named | {"attention_mask": mask}))


def windowed(kind: str, windows: AttentionWindows = WINDOWS) -> PreTrainedModel:
    model = random_decoder.make(kind)
    install(model, windows)
    return model


def in_pieces(
    model: PreTrainedModel, caches: Sequence[LayerCache | HeadCaches], pieces: Sequence[int]
) -> Iterator[torch.Tensor]:
    start = 0
    for size in pieces:
        hidden = model.model(
            input_ids=torch.tensor([IDS[start : start + size]]),
            position_ids=torch.arange(start, start + size)[None],
            use_cache=False,
            caches=[(slice(0, size), caches)],
        ).last_hidden_state
        yield model.lm_head(hidden)[0]
        start += size


@pytest.mark.parametrize("windows", [WINDOWS, BY_HEAD])
@pytest.mark.parametrize("kind", random_decoder.KINDS)
def test_masked_attention_equals_the_librarys_with_an_explicit_mask(
    kind: str, windows: AttentionWindows
) -> None:
    with torch.inference_mode():
        found = windowed(kind, windows)(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
        full = random_decoder.make(kind)(input_ids=torch.tensor([IDS])).logits[0]
    expected = reference(kind, IDS, windows)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(full, expected, atol=1e-2)


@pytest.mark.parametrize("windows", [WINDOWS, BY_HEAD])
@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("kind", random_decoder.KINDS)
def test_what_caches_keep_is_enough(
    kind: str, pieces: Sequence[int], windows: AttentionWindows
) -> None:
    model = windowed(kind, windows)
    caches = [window.cache(len(IDS)) for window in layer_windows(windows)]
    with torch.inference_mode():
        found = torch.cat([*in_pieces(model, caches, pieces)])
    assert torch.allclose(found, reference(kind, IDS, windows), atol=1e-5)


@pytest.mark.parametrize("sink", [0, 5])
def test_other_sinks_and_windows(sink: int) -> None:
    windows = AttentionWindows(sink, (1, 149, 150))
    model = windowed("qwen2", windows)
    caches = [window.cache(len(IDS)) for window in layer_windows(windows)]
    with torch.inference_mode():
        found = torch.cat([*in_pieces(model, caches, (37,) + (1,) * 113)])
    assert torch.allclose(found, reference("qwen2", IDS, windows), atol=1e-5)


def test_generate_attends_in_windows_too() -> None:
    model = windowed("qwen2")
    ids = torch.tensor([IDS[:60]])
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=30, do_sample=False, pad_token_id=0
    )[0].tolist()
    expected = reference("qwen2", made[:-1], WINDOWS)
    assert made[60:] == expected[59:].argmax(-1).tolist()


def test_caches_hold_sinks_and_windows_alone() -> None:
    model = windowed("qwen2")
    caches = [window.cache(len(IDS)) for window in layer_windows(WINDOWS)]
    assert [cache.elements for cache in caches] == [0, 0, 0]
    with torch.inference_mode():
        for _ in in_pieces(model, caches, (40,) + (1,) * 110):
            held = [cache.elements for cache in caches]
            assert held == [2 * KV_HEADS * WIDTH * places for places in (11, 150, 24)]


def test_heads_hold_windows_of_their_own() -> None:
    model = windowed("qwen2", BY_HEAD)
    caches = [window.cache(len(IDS)) for window in layer_windows(BY_HEAD)]
    with torch.inference_mode():
        for _ in in_pieces(model, caches, (40,) + (1,) * 110):
            pass
    held = [11 + 150, 24 + 24, 150 + 33]
    assert [cache.elements for cache in caches] == [2 * WIDTH * places for places in held]
    assert BY_HEAD.equivalent(150) == -(-sum(held) // 6)


@pytest.mark.parametrize(("longest", "places"), [(1, 1), (3, 3), (4, 4), (11, 11), (12, 11)])
def test_short_texts_take_no_more_than_they_have(longest: int, places: int) -> None:
    assert LayerWindow(3, 8).cache(longest).places == places
    assert AttentionWindows(3, (8,)).held(0, longest) == places


def test_a_model_says_what_it_was_given() -> None:
    assert installed(random_decoder.make("llama")) is None
    assert installed(windowed("llama")) == WINDOWS


def test_windows_of_another_number_of_layers_are_refused() -> None:
    with pytest.raises(SealgateError) as found:
        windowed("llama", AttentionWindows(4, (8, 8)))
    assert found.value.reason is Reason.ENGINE_UNSUITABLE
    assert found.value.detail == "attention windows of 2 layers for 3"


def test_windows_of_another_number_of_heads_are_refused() -> None:
    with pytest.raises(SealgateError) as found:
        windowed("llama", AttentionWindows(4, (8,) * 12, 4))
    assert found.value.reason is Reason.ENGINE_UNSUITABLE
    assert found.value.detail == "attention windows of 4 KV heads for 2"


def test_a_model_with_windows_of_its_own_is_refused() -> None:
    own = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=64,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            layer_types=["full_attention", "sliding_attention"],
            use_sliding_window=True,
            sliding_window=16,
        )
    )
    with pytest.raises(SealgateError) as found:
        install(own, AttentionWindows(4, (8, 8)))
    assert found.value.reason is Reason.ENGINE_UNSUITABLE
    assert found.value.detail == "the model has attention windows of its own"


def test_several_texts_beside_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="takes one text"):
        windowed("llama")(input_ids=torch.tensor([IDS[:8], IDS[:8]]))
