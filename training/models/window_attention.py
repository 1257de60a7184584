"""Attention in windows as one operator of torch, with its gradient.

A traced graph holds the operator whole, at any length of a text, and
`training.export.attention_windows` writes it block by block. In torch it is the square of all
scores, from which what lies outside of the windows is taken: it defines what the blocks must say.
"""

from typing import Any

import torch

from training.models.encoder import NO_ATTENTION

Reach = tuple[int, int, int]
"""`whole`, `block` and `first` of `training.models.long_encoder.AttentionReach`."""


def in_windows(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, reach: Reach
) -> torch.Tensor:
    """The attention of queries to the values [n, heads, s, d] that they see, under a mask int64 [n,
    s]; differentiable once.
    """
    found: torch.Tensor = _gathered(query, key, value, mask, *reach)
    return found


def _shares(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor, whole: int, block: int, first: int
) -> torch.Tensor:
    """Of each query in each key [n, heads, s, s]."""
    tokens = mask.shape[1]
    places = torch.arange(tokens, device=mask.device)
    blocks, led = places // block, places < first
    near = (blocks[:, None] - blocks).abs() <= 1
    seen = near | led[:, None] | led
    if tokens <= whole:
        seen = torch.ones_like(seen)
    hidden = (1 - mask.to(query.dtype))[:, None, None, :]
    bias = torch.where(seen, hidden, torch.ones_like(hidden)) * NO_ATTENTION
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return torch.softmax(scores + bias, -1)


@torch.library.custom_op("sealgate::window_attention", mutates_args=())
def _gathered(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    whole: int,
    block: int,
    first: int,
) -> torch.Tensor:
    return _shares(query, key, mask, whole, block, first) @ value


@torch.library.custom_op("sealgate::window_attention_slopes", mutates_args=())
def _slopes(
    slope: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    whole: int,
    block: int,
    first: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shares = _shares(query, key, mask, whole, block, first)
    by_share = slope @ value.transpose(-1, -2)
    by_score = shares * (by_share - (shares * by_share).sum(-1, keepdim=True))
    by_score = by_score * query.shape[-1] ** -0.5
    return (
        by_score @ key,
        by_score.transpose(-1, -2) @ query,
        shares.transpose(-1, -2) @ slope,
    )


@_gathered.register_fake
def _(query: torch.Tensor, *_: object) -> torch.Tensor:
    return torch.empty_like(query)


@_slopes.register_fake
def _(slope: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.empty_like(slope), torch.empty_like(slope), torch.empty_like(slope)


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: torch.Tensor) -> None:
    *given, whole, block, first = inputs
    ctx.save_for_backward(*given)
    ctx.reach = whole, block, first


def _back(
    ctx: torch.autograd.function.FunctionCtx, slope: torch.Tensor
) -> tuple[torch.Tensor | None, ...]:
    query, key, value, mask = ctx.saved_tensors
    found = _slopes(slope, query, key, value, mask, *ctx.reach)
    return *found, None, None, None, None


_gathered.register_autograd(_back, setup_context=_keep)


def operators() -> tuple[Any, Any]:
    """torch's names of the two operators, forward and its gradient, for exporters."""
    named = torch.ops.sealgate
    return named.window_attention.default, named.window_attention_slopes.default
