"""Measures how far the attention of each layer reaches, while a decoder reads a text in full."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

_WATCHED = "sealgate_watched"


class WatchedLayers:
    """The measured attention of each layer on one text, for the tokens at positions `asking`.

    `entropies` [layers] are in nats. `outside` [layers, sizes] is the share of attention on tokens
    that are neither among the first `sink` nor among the latest of each size. Both are means of
    heads and tokens.
    """

    def __init__(self, asking: Sequence[int], sink: int, sizes: Sequence[int]) -> None:
        self._asking = torch.tensor(list(asking))
        self._sink = sink
        self._sizes = sizes
        self._entropies: list[torch.Tensor] = []
        self._outside: list[torch.Tensor] = []

    @property
    def entropies(self) -> torch.Tensor:
        return torch.stack(self._entropies).cpu()

    @property
    def outside(self) -> torch.Tensor:
        return torch.stack(self._outside).cpu()

    def read(self, model: PreTrainedModel, ids: Sequence[int]) -> None:
        """Let a decoder read a text with full attention; afterwards it attends as before."""
        _read(model, ids, self)

    def look(self, query: torch.Tensor, key: torch.Tensor, scaling: float) -> None:
        """At the next layer: query [heads, tokens, width] and key [KV heads, tokens, width]."""
        heads = len(query)
        asking = self._asking.to(query.device)
        shares = _shares(query, key, asking, scaling)
        logs = shares.clamp_min(torch.finfo(shares.dtype).tiny).log()
        self._entropies.append(-(shares * logs).sum(-1).mean())
        # Up to each token, that one included; behind a column of none.
        sums = torch.nn.functional.pad(shares.cumsum(-1), (1, 0))
        found = []
        for size in self._sizes:
            ends = (asking + 1 - size).clamp_min(self._sink)
            upto = sums.gather(-1, ends.expand(heads, -1)[..., None])[..., 0]
            found.append((upto - sums[..., self._sink]).mean())
        self._outside.append(torch.stack(found) if found else torch.zeros(0))


class LookingLayers:
    """How much of each KV head's attention tokens at some places give to others: pairs of `looks`,
    the places that look and those that are looked at.
    """

    def __init__(self, looks: Sequence[tuple[Sequence[int], range]]) -> None:
        self._looks = looks
        self._found: list[list[float]] = []

    def read(self, model: PreTrainedModel, ids: Sequence[int]) -> list[list[float]]:
        """Of each layer and KV head, while a decoder reads a text with full attention: the largest
        share of any head that asks it for any pair, as a mean over the tokens that look.
        """
        self._found = []
        _read(model, ids, self)
        return self._found

    def look(self, query: torch.Tensor, key: torch.Tensor, scaling: float) -> None:
        """At the next layer, as `WatchedLayers` does."""
        found = []
        for asking, seen in self._looks:
            places = torch.tensor(list(asking), device=query.device)
            shares = _shares(query, key, places, scaling)[..., seen.start : seen.stop]
            found.append(shares.sum(-1).mean(-1).reshape(len(key), -1).amax(1))
        self._found.append(torch.stack(found).amax(0).tolist())


def _read(
    model: PreTrainedModel, ids: Sequence[int], watched: WatchedLayers | LookingLayers
) -> None:
    before = model.config._attn_implementation
    model.set_attn_implementation(_WATCHED)
    try:
        with torch.inference_mode():
            tokens = torch.tensor([list(ids)], device=model.device)
            model.model(input_ids=tokens, use_cache=False, watched=watched)
    finally:
        model.set_attn_implementation(before)


def _shares(
    query: torch.Tensor, key: torch.Tensor, asking: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Of the tokens at places `asking` [asking], by head, in all tokens before them and their own,
    [heads, asking, tokens].
    """
    heads, tokens, width = query.shape
    asked = query[:, asking].reshape(len(key), -1, width)
    scores = (asked @ key.transpose(1, 2)).reshape(heads, len(asking), tokens) * scaling
    is_later = torch.arange(tokens, device=query.device) > asking[:, None]
    return scores.masked_fill_(is_later, -torch.inf).softmax(-1)


def _forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    watched: WatchedLayers | LookingLayers,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As the library calls attention: [1, heads, tokens, width], to [1, tokens, heads, width]."""
    watched.look(query[0], key[0], scaling)
    found = scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    )
    return found.transpose(1, 2).contiguous(), None


AttentionInterface.register(_WATCHED, _forward)
