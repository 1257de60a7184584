"""Decoders with random weights, for tests of what does not depend on what they say."""

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

VOCABULARY, LAYERS, KV_HEADS, WIDTH = 64, 3, 2, 8
KINDS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def make(kind: str, attention: str = "sdpa") -> PreTrainedModel:
    """Always the same one of a kind: four heads of WIDTH in LAYERS layers."""
    configured, model = KINDS[kind]
    torch.manual_seed(0)
    config = configured(
        vocab_size=VOCABULARY,
        hidden_size=4 * WIDTH,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=512,
        attn_implementation=attention,
    )
    made: PreTrainedModel = model(config).eval()
    # Attention of small weights is even, and windows would hardly tell.
    for layer in made.model.layers:
        layer.self_attn.q_proj.weight.data *= 8
        layer.self_attn.k_proj.weight.data *= 8
    return made.requires_grad_(False)


def ids(count: int, seed: int = 1) -> list[int]:
    """Random tokens."""
    drawn = torch.Generator().manual_seed(seed)
    found: list[int] = torch.randint(0, VOCABULARY, (count,), generator=drawn).tolist()
    return found
