"""Answers of an encoder-decoder in progress, a row each: prompts encoded once, and what was said.

Prompts are padded behind their end, answers before their beginning, so that all of them end at the
same place, whenever they began. That changes nothing for a model that counts positions from the
token that looks, as T5 does.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


class Rows:
    """Row n of each tensor is the n-th answer's."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        """Encodes the prompts, given as ids."""
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long)
        self._read = torch.zeros(len(prompts), longest, dtype=torch.bool)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
            self._read[row, : len(prompt)] = True
        self._model = model
        encoded = model.get_encoder()(input_ids=ids, attention_mask=self._read)
        self._states = encoded.last_hidden_state
        self._said = torch.zeros(len(prompts), 0, dtype=torch.bool)
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Logits [rows, vocabulary] of what follows, once each row has said its token."""
        self._said = pad(self._said, (0, 1), value=True)
        out = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._states),
            attention_mask=self._read,
            decoder_input_ids=torch.tensor(tokens)[:, None],
            decoder_attention_mask=self._said,
            cache=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all others, and what none of those kept needs; they are one at least."""
        kept = torch.tensor(rows)
        read, said = self._read[kept], self._said[kept]
        width, length = int(read.sum(-1).max()), int(said.sum(-1).max())
        self._read, self._said = read[:, :width], said[:, said.shape[1] - length :]
        self._states = self._states[kept, :width]
        for layer in self._cache.cross_attention_cache.layers:
            layer.keys, layer.values = (x[kept, :, :width] for x in (layer.keys, layer.values))
        for layer in self._cache.self_attention_cache.layers:
            start = layer.keys.shape[2] - length
            layer.keys, layer.values = (x[kept, :, start:] for x in (layer.keys, layer.values))

    def join(self, others: "Rows") -> None:
        """Takes up the rows of others, which have taken a step at least, behind its own."""
        self._read = _behind(self._read[..., None], others._read[..., None])[..., 0]
        self._said = _before(self._said[..., None], others._said[..., None])[..., 0]
        self._states = _behind(self._states, others._states)
        mine, theirs = self._cache, others._cache
        for here, there in zip(
            mine.cross_attention_cache.layers, theirs.cross_attention_cache.layers, strict=True
        ):
            here.keys, here.values = (
                _behind(here.keys, there.keys),
                _behind(here.values, there.values),
            )
        for here, there in zip(
            mine.self_attention_cache.layers, theirs.self_attention_cache.layers, strict=True
        ):
            here.keys, here.values = (
                _before(here.keys, there.keys),
                _before(here.values, there.values),
            )


def _behind(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Both [rows, ..., places, width], below each other; the shorter padded behind its end."""
    length = max(one.shape[-2], other.shape[-2])
    return torch.cat([pad(x, (0, 0, 0, length - x.shape[-2])) for x in (one, other)])


def _before(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The same, padded before its beginning."""
    length = max(one.shape[-2], other.shape[-2])
    return torch.cat([pad(x, (0, 0, length - x.shape[-2], 0)) for x in (one, other)])
