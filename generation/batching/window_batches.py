"""Generates many answers at once from a decoder whose attention has windows.

The library's batches know one window for all layers, and no sinks. Here each answer has a cache of
its own for each layer, which holds what a later token of it sees. The tokens of all answers stand
in a row for everything but attention, which is computed for each answer alone. Prompts are read in
pieces that begin at fixed places, so neither pieces nor caches depend on other answers.
"""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from generation.batching.answer_loop import AnswerInProgress, AnswerLoop
from generation.batching.cache_queue import CacheQueue
from generation.batching.windows import LayerCache, LayerWindow, layer_windows
from generation.config import GenerationSettings
from inference.llm.terms import AttentionWindows


class _Row:
    """An answer with its caches; `next` are tokens that the model has not read yet."""

    def __init__(self, answer: AnswerInProgress, caches: list[LayerCache]) -> None:
        self.answer = answer
        self.caches = caches
        self.next = list(answer.prompt)
        self.read = 0

    def take(self, most: int) -> tuple[list[int], range]:
        """The next tokens, at most so many, and their positions."""
        tokens, self.next = self.next[:most], self.next[most:]
        self.read += len(tokens)
        return tokens, range(self.read - len(tokens), self.read)


class WindowBatch:
    """The answers that run, on one thread."""

    def __init__(
        self,
        model: PreTrainedModel,
        windows: Sequence[LayerWindow],
        ends: Sequence[int],
        step_tokens: int,
    ) -> None:
        self._model = model
        self._windows = windows
        self._ends = ends
        self._piece = step_tokens
        self._rows: list[_Row] = []

    @property
    def answers(self) -> list[AnswerInProgress]:
        return [row.answer for row in self._rows]

    @property
    def elements(self) -> int:
        """How many numbers all caches have."""
        return sum(cache.elements for row in self._rows for cache in row.caches)

    def step(self, new: Sequence[AnswerInProgress]) -> None:
        """A piece of prompts, as far as a step reads, and a token for each other answer."""
        self._rows = [row for row in self._rows if not row.answer.is_over]
        for answer in new:
            caches = [window.cache(answer.longest) for window in self._windows]
            self._rows.append(_Row(answer, caches))
        if taken := self._taken():
            self._choose(taken, self._run(taken))

    def _taken(self) -> list[_Row]:
        """Whose tokens are read now: all answers' that have begun, and prompts in their order."""
        found, tokens = [], 0
        for row in self._rows:
            piece = min(len(row.next), self._piece)
            if row.answer.said or not tokens or tokens + piece <= self._piece:
                found.append(row)
                tokens += 0 if row.answer.said else piece
        return found

    def _run(self, rows: Sequence[_Row]) -> torch.Tensor:
        """Logits [rows, vocabulary] behind the tokens that are read."""
        ids: list[int] = []
        positions: list[int] = []
        caches, ends = [], []
        for row in rows:
            tokens, places = row.take(self._piece)
            caches.append((slice(len(ids), len(ids) + len(tokens)), row.caches))
            ids += tokens
            positions += places
            ends.append(len(ids) - 1)
        place = self._model.device
        hidden = self._model.model(
            input_ids=torch.tensor([ids], device=place),
            position_ids=torch.tensor([positions], device=place),
            use_cache=False,
            caches=caches,
        ).last_hidden_state
        logits: torch.Tensor = self._model.lm_head(hidden[0, ends]).float()
        return logits

    def _choose(self, rows: Sequence[_Row], logits: torch.Tensor) -> None:
        for row, each in zip(rows, logits, strict=True):
            if not row.next:
                row.next = [row.answer.choose(each, self._ends)]


class WindowBatches(AnswerLoop[WindowBatch]):
    """Answers many requests on one thread of its own. Safe for many threads."""

    def __init__(
        self,
        model: PreTrainedModel,
        attention: AttentionWindows,
        ends: Sequence[int],
        settings: GenerationSettings,
    ) -> None:
        """`model` attends in these windows; `ends` are the ids of tokens that end an answer. The
        room is that of full attention, in pages, of which an answer takes what it can hold.
        """
        self._begun_by = (model, layer_windows(attention), ends, settings.step_tokens)
        self._attention = attention
        self._page = settings.page_tokens
        super().__init__(CacheQueue(settings.pages, settings.queue), settings.step_tokens)

    @property
    def elements(self) -> int:
        """How many numbers the caches of all answers have now."""
        return self._batch.elements

    def _new_batch(self) -> WindowBatch:
        return WindowBatch(*self._begun_by)

    def _cost(self, answer: AnswerInProgress) -> int:
        return -(-self._attention.equivalent(answer.longest) // self._page)
