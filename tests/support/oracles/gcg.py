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
    the gradient likes best at each of the suffix's `length` places. Who knows that surprising
    tokens are looked for also wants them likely: their mean -log p weighs `quiet`, beside the
    target's 1.
    """

    steps: int
    candidates: int
    length: int
    top: int = 64
    quiet: float = 0.0


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
        best = float(self._losses(prefix, suffix[None], aim, effort.quiet)[0])
        for _ in range(effort.steps):
            liked = self._liked(prefix, suffix, aim, effort)
            tried = suffix.repeat(effort.candidates, 1)
            places = torch.randint(effort.length, (effort.candidates,), generator=generator)
            picks = torch.randint(effort.top, (effort.candidates,), generator=generator)
            tried[torch.arange(effort.candidates), places] = liked[places, picks]
            losses = self._losses(prefix, tried, aim, effort.quiet)
            place = int(losses.argmin())
            if float(losses[place]) < best:
                best, suffix = float(losses[place]), tried[place]
        ids = tuple(suffix.tolist())
        loss = float(self._losses(prefix, suffix[None], aim)[0])
        return Found(ids, empty, loss, self._begins(aim, ids))

    def _prefix(self, before: Ids) -> DynamicCache:
        cache = DynamicCache(config=self._model.config)
        if len(before) > 1:
            with torch.no_grad():
                self._model.model(torch.tensor([list(before[:-1])]), cache=cache)
        return cache

    def _liked(self, prefix: DynamicCache, suffix: torch.Tensor, aim: Aim, effort: Effort) -> Any:
        """The ids [length, top] that lower the loss most, to first order."""
        held = self._table[suffix].clone().requires_grad_(True)
        first = self._table[torch.tensor(list(aim.before[-1:]))]
        rest = self._table[torch.tensor([*aim.between, *aim.target])]
        embedded = torch.cat([first, held, rest])[None]
        loss = self._loss(prefix, embedded, suffix[None], aim, effort.quiet)[0]
        (slope,) = torch.autograd.grad(loss, held)
        scores = slope @ self._table[self._allowed].T
        return self._allowed[scores.topk(effort.top, largest=False).indices]

    def _losses(
        self, prefix: DynamicCache, suffixes: torch.Tensor, aim: Aim, quiet: float = 0.0
    ) -> torch.Tensor:
        """Of suffixes [n, length], the loss of each [n]."""
        first = torch.tensor(list(aim.before[-1:])).repeat(len(suffixes), 1)
        rest = torch.tensor([*aim.between, *aim.target]).repeat(len(suffixes), 1)
        with torch.no_grad():
            embedded = self._table[torch.cat([first, suffixes, rest], 1)]
            return self._loss(prefix, embedded, suffixes, aim, quiet)

    def _loss(
        self,
        prefix: DynamicCache,
        embedded: torch.Tensor,
        suffixes: torch.Tensor,
        aim: Aim,
        quiet: float,
    ) -> torch.Tensor:
        """[n], of suffixes [n, length] that are `embedded` [n, s, W] with what is around them."""
        cache = copy.deepcopy(prefix)
        if len(embedded) > 1 and cache.get_seq_length():
            cache.batch_repeat_interleave(len(embedded))
        # The last token's own continuation does not count.
        told = self._model(
            inputs_embeds=embedded[:, :-1],
            cache=cache,
            logits_to_keep=0 if quiet else len(aim.target),
        ).logits
        target = torch.tensor(list(aim.target)).repeat(len(embedded), 1)
        loss = _surprise(told[:, -target.shape[1] :], target)
        if quiet:
            loss = loss + quiet * _surprise(told[:, : suffixes.shape[1]], suffixes)
        return loss

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


def _surprise(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The mean -log p [n] of tokens [n, s] by logits [n, s, vocabulary]."""
    return functional.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").mean(1)


def printable(tokenizer: Any, special: Ids) -> list[int]:
    """The ids of tokens that are printable ASCII."""
    texts = ((i, tokenizer.decode([i])) for i in range(tokenizer.get_vocab_size()))
    kept = set(special)
    return [
        i for i, text in texts if text and text.isascii() and text.isprintable() and i not in kept
    ]
