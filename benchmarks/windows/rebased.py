"""Attention windows with positions inside the cache, as StreamingLLM has them, for comparison.

Where tokens have been dropped, sinks stand right before the window: a token looks at them from the
distance that they have in the cache, not in the text (Xiao et al., arXiv 2309.17453).
"""

from typing import Any

import torch
from transformers import AttentionInterface, PreTrainedModel

from generation.batching.windows import LayerWindow

_REBASED = "benchmark_rebased"
_BLOCK = 128


def rebase(model: PreTrainedModel) -> None:
    """Let a decoder with windows attend so, in place."""
    for layer in model.model.layers:
        # RoPE's frequencies, by which a query is turned to another position.
        layer.self_attn.frequencies = model.model.rotary_emb.inv_freq
    model.set_attn_implementation(_REBASED)


def _turned(query: torch.Tensor, by: torch.Tensor, frequencies: torch.Tensor) -> torch.Tensor:
    """Queries [..., tokens, width], as if each stood `by` [tokens] positions later."""
    angles = (by[:, None] * frequencies).repeat(1, 2)
    first, second = query.chunk(2, -1)
    return query * angles.cos() + torch.cat([-second, first], -1) * angles.sin()


def _block(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, start: int
) -> torch.Tensor:
    """Of query [KV heads, group, n, width] from position `start` on, on all keys and values [KV
    heads, m, width].
    """
    window: LayerWindow = module.layer_window
    asking = torch.arange(start, start + query.shape[2])
    first = max(window.sink, window.first(start))
    near = torch.arange(first, int(asking[-1]) + 1)
    sinks = torch.arange(min(window.sink, int(asking[-1]) + 1))
    dropped = (asking - window.sink - window.window + 1).clamp_min(0) if window.window else 0
    asked = _turned(query, -dropped * torch.ones_like(asking), module.frequencies)
    scores = torch.cat(
        [
            asked @ key[:, None, sinks].transpose(-1, -2),
            query @ key[:, None, near].transpose(-1, -2),
        ],
        -1,
    )
    seen = window.mask(asking, torch.cat([sinks, near]))
    shares = (scores * module.scaling).masked_fill(~seen, -torch.inf).softmax(-1)
    return shares @ torch.cat([value[:, None, sinks], value[:, None, near]], -2)


def _forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As the library calls attention: [1, heads, tokens, width], to [1, tokens, heads, width]."""
    _, heads, tokens, width = query.shape
    grouped = query[0].reshape(key.shape[1], -1, tokens, width)
    parts = [
        _block(module, grouped[:, :, start : start + _BLOCK], key[0], value[0], start)
        for start in range(0, tokens, _BLOCK)
    ]
    found = torch.cat(parts, 2).reshape(heads, tokens, width)
    return found.transpose(0, 1)[None].contiguous(), None


AttentionInterface.register(_REBASED, _forward)
