"""Generates many answers at once from an encoder-decoder, which the library cannot batch.

Answers are rows of one batch. Between two steps of the decoder, finished rows leave and new ones
join: their prompts are encoded, a limited number of tokens at a time. Every row is as wide as the
widest, so space is reserved by rows of the largest size that the version's terms allow.
"""

from collections.abc import Sequence

import torch
from torch.nn.functional import pad
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from generation.batching.answer_loop import AnswerInProgress, AnswerLoop
from generation.batching.cache_queue import CacheQueue
from generation.config import GenerationSettings
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
