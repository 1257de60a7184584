"""GCG (greedy coordinate gradient; Zou et al., arXiv 2307.15043): a suffix of a prompt, searched
for by gradients, that makes a model begin its answer with a given text.

A small one, to measure screening with: one prompt at a time, on the processor. Tokens of a suffix
are printable ASCII, so that it can be sent as text.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel

Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Effort:
    """`steps` steps, each of which tries `candidates` exchanges of one token, from the `top` that
    the gradient likes best at each of the suffix's `length` places.
    """

    steps: int
    candidates: int
    length: int
    top: int = 64


@dataclass(frozen=True, slots=True)
class Aim:
    """What stands before the suffix, between it and the answer, and how the answer shall begin."""

    before: Ids
    between: Ids
    target: Ids


@dataclass(frozen=True, slots=True)
class Found:
    """A suffix; the mean -log p of the target's tokens without it, in nats, and with it; whether
    greedy generation begins with the target.
    """

    ids: tuple[int, ...]
    loss_before: float
    loss: float
    succeeded: bool


class Attack:
    """Attacks one model. `allowed` are the ids that a suffix may have, `start` what it begins as.

    What stands before a suffix is run once, but for its last token, behind which all is new.
    """

    def __init__(self, model: PreTrainedModel, allowed: Ids, start: int) -> None:
        self._model = model
        self._allowed = torch.tensor(list(allowed))
        self._start = start
        self._table = model.get_input_embeddings().weight.detach()

    def search(self, aim: Aim, effort: Effort, seed: int) -> Found:
        """A step: the gradient of the loss by the suffix's tokens, as if they were mixtures; then
        the best of exchanges drawn at random among those that it likes.
        """
        generator = torch.Generator().manual_seed(seed)
        prefix = self._prefix(aim.before)
        suffix = torch.full((effort.length,), self._start)
        empty = float(self._losses(prefix, torch.zeros((1, 0), dtype=torch.long), aim)[0])
        best = float(self._losses(prefix, suffix[None], aim)[0])
        for _ in range(effort.steps):
            liked = self._liked(prefix, suffix, aim, effort.top)
            tried = suffix.repeat(effort.candidates, 1)
            places = torch.randint(effort.length, (effort.candidates,), generator=generator)
            picks = torch.randint(effort.top, (effort.candidates,), generator=generator)
            tried[torch.arange(effort.candidates), places] = liked[places, picks]
            losses = self._losses(prefix, tried, aim)
            place = int(losses.argmin())
            if float(losses[place]) < best:
                best, suffix = float(losses[place]), tried[place]
        ids = tuple(suffix.tolist())
        return Found(ids, empty, best, self._begins(aim, ids))

    def _prefix(self, before: Ids) -> DynamicCache:
        cache = DynamicCache(config=self._model.config)
        if len(before) > 1:
            with torch.no_grad():
                self._model.model(torch.tensor([list(before[:-1])]), cache=cache)
        return cache

    def _liked(self, prefix: DynamicCache, suffix: torch.Tensor, aim: Aim, top: int) -> Any:
        """The ids [length, top] that lower the loss most, to first order."""
        held = self._table[suffix].clone().requires_grad_(True)
        first = self._table[torch.tensor(list(aim.before[-1:]))]
        rest = self._table[torch.tensor([*aim.between, *aim.target])]
        loss = self._loss(prefix, torch.cat([first, held, rest])[None], aim)[0]
        (slope,) = torch.autograd.grad(loss, held)
        scores = slope @ self._table[self._allowed].T
        return self._allowed[scores.topk(top, largest=False).indices]

    def _losses(self, prefix: DynamicCache, suffixes: torch.Tensor, aim: Aim) -> torch.Tensor:
        """Of suffixes [n, length], the loss of each [n]."""
        first = torch.tensor(list(aim.before[-1:])).repeat(len(suffixes), 1)
        rest = torch.tensor([*aim.between, *aim.target]).repeat(len(suffixes), 1)
        with torch.no_grad():
            return self._loss(prefix, self._table[torch.cat([first, suffixes, rest], 1)], aim)

    def _loss(self, prefix: DynamicCache, embedded: torch.Tensor, aim: Aim) -> torch.Tensor:
        cache = copy.deepcopy(prefix)
        if len(embedded) > 1 and cache.get_seq_length():
            cache.batch_repeat_interleave(len(embedded))
        # The last token's own continuation does not count.
        told = self._model(
            inputs_embeds=embedded[:, :-1],
            cache=cache,
            logits_to_keep=len(aim.target),
        ).logits
        target = torch.tensor(list(aim.target)).repeat(len(embedded), 1)
        return functional.cross_entropy(told.transpose(1, 2), target, reduction="none").mean(1)

    def _begins(self, aim: Aim, suffix: Ids) -> bool:
        ids = torch.tensor([[*aim.before, *suffix, *aim.between]])
        with torch.no_grad():
            told = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=len(aim.target),
                do_sample=False,
                pad_token_id=0,
            )
        return bool(told[0, ids.shape[1] :].tolist() == list(aim.target))


def printable(tokenizer: Any, special: Ids) -> list[int]:
    """The ids of tokens that are printable ASCII."""
    texts = ((i, tokenizer.decode([i])) for i in range(tokenizer.get_vocab_size()))
    kept = set(special)
    return [
        i for i, text in texts if text and text.isascii() and text.isprintable() and i not in kept
    ]
