"""Model families: decoder-only models (Llama, Qwen2) and encoder-decoder ones (T5).

Encoder-decoder models (T5): loading, batching and measuring. Such a model does not predict the
tokens that it reads, so prompts are not screened by their perplexity. The cost of marking is
measured on answers that the model has drawn: the logarithm of the growth of their perplexity is the
loss in nats per token.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import Seq2SeqLMOutput

from generation.batching.answer_loop import CacheQueue
from generation.batching.attention_windows import install, installed
from generation.batching.causal_batches import CausalBatches
from generation.batching.sampling import draw
from generation.batching.step_batches import DecodingRows, TranslationBatches, WindowBatches
from generation.config import GenerationSettings
from generation.models.perplexity import perplexity
from inference.llm.request import Sampling
from inference.llm.terms import AttentionWindows
from sealgate.reasons import Reason, SealgateError

Said: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Ids that a model is given, and ids of which it is asked how likely they are behind these."""


class AnswerBatches(Protocol):
    """Answers many requests at once. Safe for many threads."""

    room: CacheQueue

    def answer(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        deadline: float,
        active: Callable[[], bool] = ...,
        caller: str = ...,
    ) -> AbstractContextManager[Iterator[int]]:
        """See `generation.batching.causal_batches.CausalBatches.answer`."""

    def close(self) -> None:
        """End: answers in progress fail."""


class ModelFamily(Protocol):
    """One kind of architecture. It holds no state of a model."""

    loads: Any
    """The library's class that reads one."""
    task: str
    """Its task, as transformers and model cards name it."""
    measures: bool
    """Whether a model says how likely a prompt is, so that prompts can be screened by it."""

    def check(self, config: Any) -> None:
        """Raises ValueError for a configuration that lacks what answering needs."""

    def positions(self, config: Any) -> int:
        """How many tokens, of prompt and answer together, it takes."""

    def attend(self, model: PreTrainedModel, attention: AttentionWindows) -> None:
        """Let a model attend in windows. Raises SealgateError(ENGINE_UNSUITABLE) if it cannot."""

    def answers(
        self,
        model: PreTrainedModel,
        ends: Sequence[int],
        settings: GenerationSettings,
        longest: int,
    ) -> AnswerBatches:
        """The batches that answer; prompt and answer together have at most `longest` tokens."""

    def greedy(
        self, model: PreTrainedModel, ends: Sequence[int], prompt: Sequence[int], tokens: int
    ) -> list[int]:
        """Answer by plain `generate`, with which the serving code is compared."""

    def material(
        self, model: PreTrainedModel, ends: Sequence[int], prompts: Sequence[Sequence[int]]
    ) -> list[Said]:
        """Of what perplexity is measured, given prompts of which one has two tokens at least."""

    def perplexity(self, model: PreTrainedModel, material: Sequence[Said]) -> float:
        """e to the mean of -log p of what is asked of, over all its tokens."""


def greedy_tokens(
    model: PreTrainedModel,
    ends: Sequence[int],
    prompt: Sequence[int],
    tokens: int,
    start: int | None = None,
) -> list[int]:
    """All ids that `generate` gives for a prompt's, with `tokens` new ones at most: those of a
    decoder begin with the prompt, those of an encoder-decoder with `start`.
    """
    settings = GenerationConfig(
        max_new_tokens=tokens,
        do_sample=False,
        decoder_start_token_id=start,
        eos_token_id=list(ends) or None,
        pad_token_id=0,
    )
    ids = torch.tensor([list(prompt)], device=model.device)
    with torch.inference_mode():
        found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    answer: list[int] = found[0].tolist()
    return answer


# Of so many tokens of the prompts, perplexity is measured: what marking costs is seen on few.
_MEASURED = 2048


class CausalFamily:
    """The `ModelFamily` of Llama and Qwen2."""

    loads = AutoModelForCausalLM
    task = "text-generation"
    measures = True

    def check(self, config: Any) -> None:
        """Nothing is needed."""

    def positions(self, config: Any) -> int:
        return int(config.max_position_embeddings)

    def attend(self, model: PreTrainedModel, attention: AttentionWindows) -> None:
        install(model, attention)

    def answers(
        self,
        model: PreTrainedModel,
        ends: Sequence[int],
        settings: GenerationSettings,
        longest: int,
    ) -> CausalBatches | WindowBatches:
        attention = installed(model)
        if attention is None:
            return CausalBatches(model, ends, settings)
        return WindowBatches(model, attention, ends, settings)

    def greedy(
        self, model: PreTrainedModel, ends: Sequence[int], prompt: Sequence[int], tokens: int
    ) -> list[int]:
        return greedy_tokens(model, ends, prompt, tokens)[len(prompt) :]

    def material(
        self, model: PreTrainedModel, ends: Sequence[int], prompts: Sequence[Sequence[int]]
    ) -> list[Said]:
        """The first of the prompts that have something to measure, up to _MEASURED tokens."""
        found: list[Said] = []
        tokens = 0
        for ids in prompts:
            if len(ids) > 1 and tokens < _MEASURED:
                found.append((ids[:1], ids[1:]))
                tokens += len(ids)
        return found

    def perplexity(self, model: PreTrainedModel, material: Sequence[Said]) -> float:
        return perplexity(model, [[*given, *said] for given, said in material])


# So many tokens of each answer are measured, and of all of them together.
_ANSWER, _DRAWN = 64, 2048


class TranslatorFamily:
    """The `ModelFamily` of T5."""

    loads = AutoModelForSeq2SeqLM
    task = "text2text-generation"
    measures = False

    def check(self, config: Any) -> None:
        start = config.decoder_start_token_id
        if not config.is_encoder_decoder or config.is_decoder:
            raise ValueError("it is no encoder-decoder")
        if type(start) is not int or not 0 <= start < config.vocab_size:
            raise ValueError("it does not say with which token an answer begins")

    def positions(self, config: Any) -> int:
        """T5 counts positions from the token that looks, and all far ones are alike."""
        return 1 << 62

    def attend(self, model: PreTrainedModel, attention: AttentionWindows) -> None:
        raise SealgateError(Reason.ENGINE_UNSUITABLE, "an encoder-decoder has no attention windows")

    def answers(
        self,
        model: PreTrainedModel,
        ends: Sequence[int],
        settings: GenerationSettings,
        longest: int,
    ) -> TranslationBatches:
        return TranslationBatches(model, _start(model), ends, settings, longest)

    def greedy(
        self, model: PreTrainedModel, ends: Sequence[int], prompt: Sequence[int], tokens: int
    ) -> list[int]:
        return greedy_tokens(model, ends, prompt, tokens, _start(model))[1:]

    def material(
        self, model: PreTrainedModel, ends: Sequence[int], prompts: Sequence[Sequence[int]]
    ) -> list[Said]:
        """Answers that the model draws, up to _MEASURED tokens: the likeliest ones tell less, since
        of poor models they are the same few words again and again.
        """
        found: list[Said] = []
        tokens = 0
        for seed, ids in enumerate(prompts):
            if tokens < _DRAWN:
                found.append((ids, _drawn(model, ends, ids, seed)))
                tokens += len(found[-1][1])
        return found

    def perplexity(self, model: PreTrainedModel, material: Sequence[Said]) -> float:
        with torch.inference_mode():
            surprises = torch.cat([_surprises(model, *each) for each in material])
        return math.exp(float(surprises.mean()))


def _start(model: PreTrainedModel) -> int:
    return int(model.config.decoder_start_token_id)


def _drawn(
    model: PreTrainedModel, ends: Sequence[int], prompt: Sequence[int], seed: int
) -> list[int]:
    """An answer as whoever asks with that seed gets it."""
    sampling = Sampling(_ANSWER, temperature=1.0, seed=seed)
    said: list[int] = []
    with torch.inference_mode():
        rows = DecodingRows(model, [prompt])
        token = _start(model)
        while len(said) < sampling.max_tokens and (not said or token not in ends):
            token = draw(rows.step([token])[0], sampling, len(prompt) + len(said))
            said.append(token)
    return said


def _surprises(
    model: PreTrainedModel, prompt: Sequence[int], answer: Sequence[int]
) -> torch.Tensor:
    """-log p(token | prompt, tokens before it), in nats, float64, of each token of an answer."""
    out: Seq2SeqLMOutput = model(
        input_ids=torch.tensor([list(prompt)], device=model.device),
        decoder_input_ids=torch.tensor([[_start(model), *answer[:-1]]], device=model.device),
        use_cache=False,
    )
    logits, tokens = out.logits[0].cpu().double(), torch.tensor(list(answer))
    return logits.logsumexp(-1) - logits.gather(-1, tokens[:, None])[:, 0]


FAMILIES: dict[str, ModelFamily] = {
    "llama": CausalFamily(),
    "qwen2": CausalFamily(),
    "t5": TranslatorFamily(),
}
"""By the model type that `config.json` names."""
