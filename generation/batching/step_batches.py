"""Generates many answers at once where the library's own batches cannot.

From an encoder-decoder: answers are rows of one batch. Between two steps of the decoder, finished
rows leave and new ones join: their prompts are encoded, a limited number of tokens at a time. Every
row is as wide as the widest, so space is reserved by rows of the largest size that the version's
terms allow.

From a decoder whose attention has windows, where the library knows one window for all layers, and
no sinks: each answer has a cache of its own for each layer, which holds what a later token of it
sees. The tokens of all answers stand in a row for everything but attention, which is computed for
each answer alone. Prompts are read in pieces that begin at fixed places, so neither pieces nor
caches depend on other answers.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from generation.batching.answer_loop import AnswerInProgress, AnswerLoop, CacheQueue
from generation.batching.attention_windows import (
    HeadCaches,
    HeadWindows,
    LayerCache,
    LayerWindow,
    layer_windows,
)
from generation.config import GenerationSettings
from inference.llm.terms import AttentionWindows
from inference.runtime.settings import CPU
from sealgate.reasons import Reason, SealgateError


class DecodingRows:
    """The answers in progress: row n of each tensor belongs to the n-th answer.

    Prompts are encoded once and padded at the end; answers are padded at the beginning, so that all
    end at the same place, whenever they began. This changes nothing for a model with relative
    positions, such as T5.
    """

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> None:
        """Encodes the prompts, given as ids."""
        longest = max(map(len, prompts))
        ids = torch.zeros(len(prompts), longest, dtype=torch.long, device=CPU)
        self._read = torch.zeros(len(prompts), longest, dtype=torch.bool, device=CPU)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt, device=CPU)
            self._read[row, : len(prompt)] = True
        self._model, self._read = model, self._read.to(model.device)
        encoded = model.get_encoder()(input_ids=ids.to(model.device), attention_mask=self._read)
        self._states = encoded.last_hidden_state
        self._said = self._read.new_zeros(len(prompts), 0)
        self._cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def step(self, tokens: Sequence[int]) -> torch.Tensor:
        """Logits [rows, vocabulary] of what follows, once each row has said its token."""
        self._said = pad(self._said, (0, 1), value=True)
        out = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._states),
            attention_mask=self._read,
            decoder_input_ids=torch.tensor(tokens, device=self._model.device)[:, None],
            decoder_attention_mask=self._said,
            cache=self._cache,
            use_cache=True,
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Drops all others, and what none of those kept needs; they are one at least."""
        kept = torch.tensor(rows, device=self._model.device)
        read, said = self._read[kept], self._said[kept]
        width, length = int(read.sum(-1).max()), int(said.sum(-1).max())
        self._read, self._said = read[:, :width], said[:, said.shape[1] - length :]
        self._states = self._states[kept, :width]
        for layer in self._cache.cross_attention_cache.layers:
            layer.keys, layer.values = (x[kept, :, :width] for x in (layer.keys, layer.values))
        for layer in self._cache.self_attention_cache.layers:
            start = layer.keys.shape[2] - length
            layer.keys, layer.values = (x[kept, :, start:] for x in (layer.keys, layer.values))

    def join(self, others: "DecodingRows") -> None:
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


class _Batch:
    """The answers that run, on one thread."""

    def __init__(self, model: PreTrainedModel, start: int, ends: Sequence[int]) -> None:
        self._model = model
        self._start = start
        self._ends = ends
        self._rows: DecodingRows | None = None
        self._last: list[int] = []
        self.answers: list[AnswerInProgress] = []

    def step(self, new: Sequence[AnswerInProgress]) -> None:
        """A token for each answer, the `new` ones included."""
        self._drop()
        if self._rows is not None:
            self._last = self._chosen(self._rows.step(self._last), self.answers)
        if new:
            rows = DecodingRows(self._model, [answer.prompt for answer in new])
            tokens = self._chosen(rows.step([self._start] * len(new)), new)
            if self._rows is None:
                self._rows = rows
            else:
                self._rows.join(rows)
            self._last += tokens
            self.answers += new

    def _drop(self) -> None:
        kept = [row for row, answer in enumerate(self.answers) if not answer.is_over]
        if len(kept) == len(self.answers):
            return
        if kept and self._rows is not None:
            self._rows.keep(kept)
        else:
            self._rows = None
        self.answers = [self.answers[row] for row in kept]
        self._last = [self._last[row] for row in kept]

    def _chosen(self, logits: torch.Tensor, answers: Sequence[AnswerInProgress]) -> list[int]:
        rows = zip(answers, logits, strict=True)
        return [answer.choose(row, self._ends) for answer, row in rows]


class TranslationBatches(AnswerLoop[_Batch]):
    """Answers many requests on one thread of its own. Safe for many threads."""

    def __init__(
        self,
        model: PreTrainedModel,
        start: int,
        ends: Sequence[int],
        settings: GenerationSettings,
        longest: int,
    ) -> None:
        """`start` is the id with which an answer begins, `ends` are those that end one; prompt and
        answer together have at most `longest` tokens, for which the cache has room.
        """
        self._longest = longest
        self._begun_by = (model, start, ends)
        room = CacheQueue(settings.cache_tokens // longest, settings.queue)
        super().__init__(room, settings.step_tokens)

    def _new_batch(self) -> _Batch:
        return _Batch(*self._begun_by)

    def _cost(self, answer: AnswerInProgress) -> int:
        if answer.longest > self._longest:
            raise SealgateError(Reason.PROMPT_TOO_LONG, f"{len(answer.prompt)} tokens")
        return 1


class _Row:
    """An answer with its caches; `next` are tokens that the model has not read yet."""

    def __init__(self, answer: AnswerInProgress, caches: Sequence[LayerCache | HeadCaches]) -> None:
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
        windows: Sequence[LayerWindow | HeadWindows],
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
        """The rows whose tokens are read now: all answers that have begun, and prompts in order."""
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
