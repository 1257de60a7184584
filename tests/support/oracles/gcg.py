"""GCG (greedy coordinate gradient; Zou et al., arXiv 2307.15043): a suffix of prompts, searched for
by gradients, that makes a model begin its answers with given texts.

A small one, to measure screening with, on the processor. Of one prompt it makes that prompt's
suffix, of several a universal one. Tokens of a suffix are printable ASCII, so that it can be sent
as text. `fluent` writes a suffix from left to right instead, each token drawn as the model would
write it (AutoDAN, Zhu et al., arXiv 2310.15140; BEAST, Sadasivan et al., arXiv 2402.15570).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel

Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Effort:
    """`steps` steps, each of which tries `candidates` exchanges of one token, from the `top` that
    the gradient likes best at each of the suffix's `length` places. An attacker who knows that
    surprising tokens are looked for also wants them likely: their mean -log p weighs `quiet`,
    beside the target's 1. An attacker who has the screen asks it of the `judged` best exchanges of
    a step.
    """

    steps: int
    candidates: int
    length: int
    top: int = 64
    quiet: float = 0.0
    judged: int = 8


@dataclass(frozen=True, slots=True)
class Aim:
    """The text before the suffix, the text between it and the answer, and how the answer shall
    begin.
    """

    before: Ids
    between: Ids
    target: Ids


@dataclass(frozen=True, slots=True)
class Found:
    """A suffix; the mean -log p of the targets' tokens without it, in nats, with it, and what the
    attacker minds after each step; the share of prompts to which greedy generation begins with the
    target.
    """

    ids: tuple[int, ...]
    loss_before: float
    loss: float
    losses: tuple[float, ...]
    succeeded: float


Judge = Callable[[Ids], float]
"""By how much a suffix exceeds what a screen lets pass, in nats; 0 or less passes."""
# The cost of a nat above the threshold for an attacker who has the screen, in nats of the target.
_COST = 4.0


class Attack:
    """Attacks one model. `allowed` are the ids that a suffix may have, `start` what it begins as.

    The text before a suffix is run once, but for its last token, after which all is new.
    """

    def __init__(self, model: PreTrainedModel, allowed: Ids, start: int) -> None:
        self._model = model
        self._allowed = torch.tensor(list(allowed))
        self._start = start
        self._table = model.get_input_embeddings().weight.detach()

    def search(
        self, aims: Sequence[Aim], effort: Effort, seed: int, judge: Judge | None = None
    ) -> Found:
        """A step: the gradient of the loss by the suffix's tokens, as if they were mixtures; then
        the best of exchanges drawn at random among those that it likes. With a `judge`, what it
        says of the best ones counts too.
        """
        generator = torch.Generator().manual_seed(seed)
        prefixes = [self._prefix(aim.before) for aim in aims]
        suffix = torch.full((effort.length,), self._start)
        best, losses = math.inf, list[float]()
        for _ in range(effort.steps):
            liked = self._liked(prefixes, suffix, aims, effort)
            tried = suffix.repeat(effort.candidates, 1)
            places = torch.randint(effort.length, (effort.candidates,), generator=generator)
            picks = torch.randint(effort.top, (effort.candidates,), generator=generator)
            tried[torch.arange(effort.candidates), places] = liked[places, picks]
            costs = self._costs(prefixes, tried, aims, effort, judge)
            place = int(costs.argmin())
            if float(costs[place]) < best:
                best, suffix = float(costs[place]), tried[place]
            losses.append(best)
        return self._found(aims, suffix, losses)

    def fluent(self, aims: Sequence[Aim], effort: Effort, seed: int) -> Found:
        """Of `candidates` tokens that the model would write next, drawn for each of the `length`
        places, the one with the least loss.
        """
        generator = torch.Generator().manual_seed(seed)
        prefixes = [self._prefix(aim.before) for aim in aims]
        suffix, losses = torch.zeros(0, dtype=torch.long), list[float]()
        for _ in range(effort.length):
            ids = torch.tensor([[*aims[0].before, *suffix.tolist()]])
            with torch.no_grad():
                likely = self._model(ids, logits_to_keep=1).logits[0, -1, self._allowed].softmax(-1)
            drawn = torch.multinomial(likely, effort.candidates, True, generator=generator)
            drawn = self._allowed[drawn.unique()]
            tried = torch.cat([suffix.repeat(len(drawn), 1), drawn[:, None]], 1)
            costs = self._costs(prefixes, tried, aims, effort, None)
            suffix = tried[int(costs.argmin())]
            losses.append(float(costs.min()))
        return self._found(aims, suffix, losses)

    def _found(self, aims: Sequence[Aim], suffix: torch.Tensor, losses: Sequence[float]) -> Found:
        ids, none = tuple(suffix.tolist()), torch.zeros(0, dtype=torch.long)
        before, after = (self._mean_loss(aims, each) for each in (none, suffix))
        begun = [self._begins(aim, ids) for aim in aims]
        return Found(ids, before, after, tuple(losses), sum(begun) / len(begun))

    def _mean_loss(self, aims: Sequence[Aim], suffix: torch.Tensor) -> float:
        each = [self._losses(self._prefix(aim.before), suffix[None], aim) for aim in aims]
        return float(torch.stack(each).mean())

    def _costs(
        self,
        prefixes: Sequence[DynamicCache],
        tried: torch.Tensor,
        aims: Sequence[Aim],
        effort: Effort,
        judge: Judge | None,
    ) -> torch.Tensor:
        """Of suffixes [n, length] what an attacker minds [n]; infinite where a judge is not asked,
        as others are better.
        """
        each = [
            self._losses(prefix, tried, aim, effort.quiet)
            for prefix, aim in zip(prefixes, aims, strict=True)
        ]
        losses = torch.stack(each).mean(0)
        if judge is None:
            return losses
        costs = torch.full_like(losses, math.inf)
        for place in losses.argsort()[: effort.judged].tolist():
            costs[place] = losses[place] + _COST * max(0.0, judge(tried[place].tolist()))
        return costs

    def _prefix(self, before: Ids) -> DynamicCache:
        cache = DynamicCache(config=self._model.config)
        if len(before) > 1:
            with torch.no_grad():
                self._model.model(torch.tensor([list(before[:-1])]), cache=cache)
        return cache

    def _liked(
        self,
        prefixes: Sequence[DynamicCache],
        suffix: torch.Tensor,
        aims: Sequence[Aim],
        effort: Effort,
    ) -> Any:
        """The ids [length, top] that lower the loss most, to first order."""
        held = self._table[suffix].clone().requires_grad_(True)
        losses = []
        for prefix, aim in zip(prefixes, aims, strict=True):
            first = self._table[torch.tensor(list(aim.before[-1:]))]
            rest = self._table[torch.tensor([*aim.between, *aim.target])]
            embedded = torch.cat([first, held, rest])[None]
            losses.append(self._loss(prefix, embedded, suffix[None], aim, effort.quiet)[0])
        (slope,) = torch.autograd.grad(torch.stack(losses).sum(), held)
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
