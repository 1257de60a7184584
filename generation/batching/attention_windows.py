"""Attention in windows: sinks and the latest tokens of each layer, as a version's terms say.

Positions stay those of the whole text: a kept key has been turned by RoPE when it was new, and is
not turned again. Positions inside the cache, as StreamingLLM has them, are for texts longer than a
model was trained on. Within its positions they gave .3% less perplexity on one address of 8,192
tokens (`make bench NAME=windows`), too little for a second query in every layer.

Two ways give the same numbers. Without a cache of its own, as when prompts are measured or
transformers generates, a layer has all keys and masks those that it must not see. While answers are
served, `LayerCache` holds nothing else than what a later token sees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from inference.llm.terms import WHOLE, AttentionWindows
from inference.runtime.settings import CPU
from sealgate.reasons import Reason, SealgateError

ATTENTION = "sealgate_windows"
_INSTALLED = "attention_windows"
_Places = TypeVar("_Places", int, torch.Tensor)
# Queries of so many tokens are masked at once: a square of all scores would outgrow the model.
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class LayerWindow:
    """The tokens that one layer sees: the first `sink` and the latest `window`, or all if WHOLE."""

    sink: int
    window: int

    def first(self, position: int) -> int:
        """The earliest position behind the sinks that a token at `position` sees."""
        return 0 if self.window == WHOLE else max(0, position - self.window + 1)

    def mask(self, asking: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """[asking, seen], of positions: whether the one sees the other."""
        later, earlier = asking[:, None], seen[None]
        is_near = earlier > later - self.window if self.window else torch.ones_like(earlier > later)
        return (earlier <= later) & (is_near | (earlier < self.sink))

    def cache(self, longest: int) -> "LayerCache":
        """An empty one for a text of at most so many tokens."""
        return LayerCache(self, longest)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """The attention output [heads, n, width] of a text's last n tokens: `query` [heads, n,
        width] is theirs, `key` and `value` [KV heads, tokens, width] are of all tokens.
        """
        seen = torch.arange(key.shape[1], device=key.device)
        asking = seen[key.shape[1] - query.shape[1] :]
        return masked(self, query, asking, key, value, seen, scaling)


@dataclass(frozen=True, slots=True)
class HeadWindows:
    """The windows of one layer's KV heads, if they differ. Each is used by the same number of
    consecutive query heads.
    """

    heads: tuple[LayerWindow, ...]

    def cache(self, longest: int) -> "HeadCaches":
        """As that of `LayerWindow`, of each head."""
        return HeadCaches([window.cache(longest) for window in self.heads])

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """As `LayerWindow` does it."""
        return _by_head(self.heads, query, key, value, scaling)


def install(model: PreTrainedModel, attention: AttentionWindows) -> None:
    """Let a decoder attend in these windows, in place.

    Raises SealgateError(ENGINE_UNSUITABLE) for another number of layers or KV heads, and for a
    model that has windows of its own.
    """
    layers = decoder_layers(model)
    if len(layers) != attention.layers:
        raise SealgateError(
            Reason.ENGINE_UNSUITABLE,
            f"attention windows of {attention.layers} layers for {len(layers)}",
        )
    if attention.heads not in (1, heads := model.config.num_key_value_heads):
        raise SealgateError(
            Reason.ENGINE_UNSUITABLE, f"attention windows of {attention.heads} KV heads for {heads}"
        )
    if set(getattr(model.config, "layer_types", None) or ["full_attention"]) != {"full_attention"}:
        raise SealgateError(Reason.ENGINE_UNSUITABLE, "the model has attention windows of its own")
    for layer, window in zip(layers, layer_windows(attention), strict=True):
        layer.self_attn.layer_window = window
    setattr(model, _INSTALLED, attention)
    model.set_attn_implementation(ATTENTION)


def decoder_layers(model: PreTrainedModel) -> Sequence[Any]:
    """The layers of a Llama or Qwen2."""
    found: Sequence[Any] = model.model.layers
    return found


def installed(model: PreTrainedModel) -> AttentionWindows | None:
    """The windows that `install` was given; None where every token sees all before it."""
    found: AttentionWindows | None = getattr(model, _INSTALLED, None)
    return found


def layer_windows(attention: AttentionWindows) -> list[LayerWindow | HeadWindows]:
    """One for each layer; of each KV head only where they differ."""
    found: list[LayerWindow | HeadWindows] = []
    for layer in range(attention.layers):
        own = tuple(LayerWindow(attention.sink, each) for each in attention.of_layer(layer))
        found.append(own[0] if len(set(own)) == 1 else HeadWindows(own))
    return found


class LayerCache:
    """Keys and values that one layer keeps of one text: its sinks, and a ring of the latest tokens.

    Both are [KV heads, places, width]. Places 0 to `sink` - 1 are the sinks'; behind them the token
    at position p is at place sink + (p - sink) modulo `window`, where a later one replaces it.
    Memory follows the text: it is taken when it is first written.
    """

    def __init__(self, window: LayerWindow, longest: int) -> None:
        self._window = window
        self._sink = min(window.sink, longest)
        self._ring = longest - self._sink
        if window.window != WHOLE:
            self._ring = min(self._ring, window.window)
        self._keys = self._values = torch.empty(0, device=CPU)
        self._tokens = 0

    @property
    def places(self) -> int:
        """Of how many tokens it can hold keys and values."""
        return self._sink + self._ring

    @property
    def elements(self) -> int:
        """How many numbers the tensors have, keys and values together."""
        return self._keys.numel() + self._values.numel()

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """The attention output [heads, tokens, width] of the next tokens, from `query` [heads,
        tokens, width], `key` and `value` [KV heads, tokens, width]. Keys and values that a later
        token sees are kept.
        """
        if not self._keys.numel():
            size = (key.shape[0], self.places, key.shape[2])
            self._keys, self._values = key.new_empty(size), value.new_empty(size)
        if key.shape[1] == 1:
            self._add(key, value)
            held = min(self._tokens, self.places)
            return _attended(query, self._keys[:, :held], self._values[:, :held], None, scaling)
        seen, positions = self._held()
        keys = torch.cat([self._keys[:, seen], key], 1)
        values = torch.cat([self._values[:, seen], value], 1)
        new = self._range(self._tokens, self._tokens + key.shape[1])
        both = torch.cat([positions, new])
        found = masked(self._window, query, new, keys, values, both, scaling)
        self._write(key, value)
        return found

    def _held(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The places that are written, by the positions of their tokens, which ascend."""
        sinks = self._range(0, min(self._tokens, self._sink))
        start = max(self._sink, self._tokens - self._ring)
        latest = self._range(start, max(start, self._tokens))
        return torch.cat([sinks, self._places(latest)]), torch.cat([sinks, latest])

    def _range(self, start: int, end: int) -> torch.Tensor:
        """Positions, where the keys are."""
        return torch.arange(start, end, device=self._keys.device)

    def _places(self, positions: _Places) -> _Places:
        """Where tokens at positions behind the sinks lie."""
        return self._sink + (positions - self._sink) % max(1, self._ring)

    def _add(self, key: torch.Tensor, value: torch.Tensor) -> None:
        """One token, as `_write` does it."""
        at = self._tokens if self._tokens < self._sink else self._places(self._tokens)
        self._keys[:, at], self._values[:, at] = key[:, 0], value[:, 0]
        self._tokens += 1

    def _write(self, key: torch.Tensor, value: torch.Tensor) -> None:
        end = self._tokens + key.shape[1]
        sinks = self._range(self._tokens, max(self._tokens, min(self._sink, end)))
        start = max(self._sink, self._tokens, end - self._ring)
        latest = self._range(start, max(start, end))
        places = torch.cat([sinks, self._places(latest)])
        tokens = torch.cat([sinks, latest]) - self._tokens
        self._keys[:, places] = key[:, tokens]
        self._values[:, places] = value[:, tokens]
        self._tokens = end


class HeadCaches:
    """Keys and values that one layer keeps of one text, by KV head."""

    def __init__(self, caches: Sequence[LayerCache]) -> None:
        self._caches = caches

    @property
    def elements(self) -> int:
        """How many numbers all have."""
        return sum(cache.elements for cache in self._caches)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> torch.Tensor:
        """As `LayerCache` does it."""
        return _by_head(self._caches, query, key, value, scaling)


def _by_head(
    heads: Sequence[LayerWindow | LayerCache],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
) -> torch.Tensor:
    """The attention output [heads, n, width], computed for each KV head with its own window."""
    own = zip(heads, query.chunk(len(heads)), key.split(1), value.split(1), strict=True)
    return torch.cat([head.attend(q, k, v, scaling) for head, q, k, v in own])


def masked(
    window: LayerWindow,
    query: torch.Tensor,
    asking: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor,
    scaling: float,
) -> torch.Tensor:
    """Attention of query [heads, n, width] at positions `asking`, in a row, on key and value [KV
    heads, m, width] at positions `seen`, which ascend, a block of queries at a time.
    """
    parts = []
    for start, block in _blocks(asking):
        least, most = window.first(int(block[0])), int(block[-1])
        near = (seen >= least) & (seen <= most) | (seen < window.sink)
        at = near.nonzero()[:, 0]
        mask = window.mask(block, seen[at])
        part = query[:, start : start + len(block)]
        parts.append(_attended(part, key[:, at], value[:, at], mask, scaling))
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _blocks(positions: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    for start in range(0, len(positions), _BLOCK):
        yield start, positions[start : start + _BLOCK]


def _attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
) -> torch.Tensor:
    """Of [heads, n, width] on [KV heads, m, width]; `mask` [n, m] says what is seen, None all."""
    heads, tokens, width = query.shape
    grouped = query.reshape(key.shape[0], -1, tokens, width)
    if mask is None and tokens == 1:
        # Heads of a group are as many queries on the same keys, which need no copies then.
        grouped = grouped.transpose(1, 2)
    size = (-1, grouped.shape[1], -1, -1)
    found = scaled_dot_product_attention(
        grouped, key[:, None].expand(size), value[:, None].expand(size), mask, scale=scaling
    )
    return found.reshape(heads, tokens, width)


def _forward(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    caches: Any = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As the library calls attention: [1, heads, tokens, width], to [1, tokens, heads, width].
    `caches` are the texts whose tokens stand in a row here: see `step_batches`.
    """
    if len(query) != 1:
        raise ValueError("attention in windows takes one text, or several in a row")
    if caches is not None:
        parts = [
            cache[module.layer_idx].attend(query[0, :, at], key[0, :, at], value[0, :, at], scaling)
            for at, cache in caches
        ]
        found = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    else:
        window: LayerWindow | HeadWindows = module.layer_window
        found = window.attend(query[0], key[0], value[0], scaling)
    return found.transpose(0, 1)[None].contiguous(), None


AttentionInterface.register(ATTENTION, _forward)
