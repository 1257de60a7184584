"""A text classifier whose attention is local in long texts.

Up to `whole` tokens, each token attends to every other. In a longer text each token attends to its
own block of tokens, to the neighbouring blocks, and to the first tokens of the text, which
themselves attend to all (Longformer: Beltagy et al., arXiv 2004.05150). Blocks pass a layer one
after another, so only the input and output of the layer grow with the text.

`training.export.long_text` writes the same computation as a graph.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from inference.text.tokens import Ids
from training.models.encoder import NO_ATTENTION, EncoderLayer, EncoderSize, TextClassifier
from training.models.window_attention import in_windows


@dataclass(frozen=True, slots=True)
class AttentionReach:
    """How far tokens attend: everywhere in texts of up to `whole` tokens; else to the `block`
    tokens around, those beside them, and the `first` of the text.
    """

    whole: int = 2048
    block: int = 128
    first: int = 1


class LongTextClassifier(TextClassifier):
    """A `TextClassifier` that attends by `reach`. Raises ValueError for positions that do not fill
    its blocks.
    """

    def __init__(self, size: EncoderSize, classes: int, reach: AttentionReach) -> None:
        super().__init__(size, classes)
        if size.positions % reach.block or reach.first > reach.block:
            raise ValueError("positions are whole blocks, and the first tokens within one")
        self.reach = reach
        # Each layer's attention as one operator: see `in_operators`.
        self.operators = False

    def vectors(self, x: torch.Tensor) -> torch.Tensor:
        """As `TextClassifier` has it; a text reaches as far as it does alone, whatever stands
        beside it.
        """
        long = (x >= 0).sum(1) > self.reach.whole
        if long.all():
            return super().vectors(x)
        short = super().vectors(x[~long, : self.reach.whole])
        if not long.any():
            return short
        both = torch.cat((short, super().vectors(x[long])))
        places = torch.cat((torch.nonzero(~long), torch.nonzero(long)))[:, 0]
        return both[places.argsort()]

    def _through(self, x: torch.Tensor, mask: torch.Tensor, start: int, end: int) -> torch.Tensor:
        tokens = x.shape[1]
        if not self.operators and tokens <= self.reach.whole:
            return super()._through(x, mask, start, end)
        if not start:
            x = self.norm(x + self.positions.weight[:tokens])
        if self.operators:
            reach = self.reach.whole, self.reach.block, self.reach.first
            for layer in self.layers[start:end]:
                parts = layer.query, layer.key, layer.value
                query, key, value = (layer.by_head(part(x)) for part in parts)
                x = layer.behind(x, in_windows(query, key, value, mask, reach))
            return x
        missing = -tokens % self.reach.block
        x, held = functional.pad(x, (0, 0, 0, missing)), functional.pad(mask, (0, missing))
        bias = (1 - held.to(x.dtype)) * NO_ATTENTION
        x, bias = (each.unflatten(1, (-1, self.reach.block)).transpose(0, 1) for each in (x, bias))
        for at, layer in enumerate(self.layers[start:end], start + 1):
            if self.checkpointed and self.training and at < len(self.layers):
                x = checkpoint(by_blocks, layer, x, bias, self.reach.first, use_reentrant=False)
            else:
                x = by_blocks(layer, x, bias, self.reach.first)
        return x.transpose(0, 1).flatten(1, 2)[:, :tokens]


@contextmanager
def in_operators(module: TextClassifier) -> Iterator[None]:
    """Within it a module of windows attends by one operator in each layer
    (`training.models.window_attention`). It says the same, and can be traced at any length.
    """
    if not isinstance(module, LongTextClassifier):
        yield
        return
    module.operators = True
    try:
        yield
    finally:
        module.operators = False


def by_blocks(layer: EncoderLayer, x: torch.Tensor, bias: torch.Tensor, first: int) -> torch.Tensor:
    """The output of a layer for x [blocks, n, block, width] under bias [blocks, n, block]."""
    # The first tokens are seen by all, and so by their neighbours not a second time.
    near = bias.clone()
    near[0, :, :first] = NO_ATTENTION
    seen = [_seen(layer, x[0])]
    top = tuple(each[:, :, :first] for each in seen[0])
    lead = _Lead(layer.by_head(layer.query(x[0, :, :first])))
    out = torch.empty_like(x)
    for at in range(len(x)):
        if at + 1 < len(x):
            seen.append(_seen(layer, x[at + 1]))
        lead.take(*seen[min(at, 1)], bias[at])
        keys, values = (torch.cat(each, 2) for each in zip(top, *seen, strict=True))
        beside = near[max(at - 1, 0) : at + 2].transpose(0, 1).flatten(1)
        weigh = torch.cat((bias[0, :, :first], beside), 1)[:, None, None]
        query = layer.by_head(layer.query(x[at]))
        found = functional.scaled_dot_product_attention(query, keys, values, weigh)
        if at:
            out[at] = layer.behind(x[at], found)
        else:
            mixed = found
        del seen[:-2]
    out[0] = layer.behind(x[0], torch.cat((lead.told(), mixed[:, :, first:]), 2))
    return out


def _seen(layer: EncoderLayer, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of a block."""
    return layer.by_head(layer.key(x)), layer.by_head(layer.value(x))


class _Lead:
    """The attention of the first tokens' queries [n, heads, first, d] to all blocks, one after
    another: a softmax whose sums are scaled anew at each higher score.
    """

    def __init__(self, query: torch.Tensor) -> None:
        self._query = query * query.shape[-1] ** -0.5
        self._highest = query.new_full((*query.shape[:3], 1), -torch.inf)
        self._total = torch.zeros_like(self._highest)
        self._told = torch.zeros_like(query)

    def take(self, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor) -> None:
        """A block's keys and values [n, heads, block, d], under bias [n, block]."""
        scores = self._query @ key.transpose(-1, -2) + bias[:, None, None]
        highest = torch.maximum(self._highest, scores.detach().amax(-1, keepdim=True))
        fades, weights = (self._highest - highest).exp(), (scores - highest).exp()
        self._total = self._total * fades + weights.sum(-1, keepdim=True)
        self._told = self._told * fades + weights @ value
        self._highest = highest

    def told(self) -> torch.Tensor:
        return self._told / self._total


def size_of(module: TextClassifier) -> EncoderSize:
    """How large it is."""
    first, width = module.layers[0], module.words.embedding_dim
    return EncoderSize(
        module.words.num_embeddings,
        module.positions.num_embeddings,
        width,
        first.inner.out_features,
        len(module.layers),
        width // first.head_width,
    )


def lengthened(module: TextClassifier, positions: int, reach: AttentionReach) -> LongTextClassifier:
    """The same encoder for texts of up to `positions` tokens, with weights of its own.

    Its position embeddings are repeated, as in Longformer: neighbours stay neighbours, but a token
    cannot tell that it stands one whole repetition further on. Its accuracy on long texts is to be
    measured.
    """
    size = replace(size_of(module), positions=positions)
    made = LongTextClassifier(size, module.head.out_features, reach)
    made.words = copy.deepcopy(module.words)
    state = module.state_dict()
    known = state["positions.weight"]
    state["positions.weight"] = known.repeat(math.ceil(positions / len(known)), 1)[:positions]
    made.load_state_dict(state)
    return made


class FrequentWordEmbedding(nn.Embedding):
    """An embedding with rows for the most frequent token ids `kept` of `vocabulary`, and one row
    that all others share.

    A small encoder consists mostly of word embeddings, most of them for tokens that it hardly ever
    sees. Ids remain the tokenizer's: the graph maps them to the rows of the smaller table.
    """

    place: torch.Tensor

    def __init__(self, kept: torch.Tensor, vocabulary: int, width: int) -> None:
        super().__init__(len(kept) + 1, width)
        place = torch.full((vocabulary,), len(kept), dtype=torch.int32)
        place[kept] = torch.arange(len(kept), dtype=torch.int32)
        self.register_buffer("place", place)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From ids [n, s] to embeddings [n, s, width]."""
        return super().forward(self.place[x])


def most_frequent(rows: Ids, count: int) -> torch.Tensor:
    """The `count` ids that rows [n, s] hold most often, ascending; fewer where there are fewer."""
    ids, times = np.unique(rows[rows >= 0], return_counts=True)
    often = np.lexsort((ids, -times))[:count]
    return torch.from_numpy(np.sort(ids[often]).astype(np.int64))
