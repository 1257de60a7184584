"""Encoder-decoder models (T5): loading, batching and measuring.

Such a model does not predict the tokens that it reads, so prompts are not screened by their
perplexity. The cost of marking is measured on answers that the model has drawn: the logarithm of
the growth of their perplexity is the loss in nats per token.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.modeling_outputs import Seq2SeqLMOutput

from generation.batching.sampling import draw
from generation.batching.translation_batches import DecodingRows, TranslationBatches
from generation.config import GenerationSettings
from generation.models.causal import greedy_tokens
from generation.models.family import Said
from inference.llm.request import Sampling

# So many tokens of each answer are measured, and of all of them together.
_ANSWER, _MEASURED = 64, 2048


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
            if tokens < _MEASURED:
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
        input_ids=torch.tensor([list(prompt)]),
        decoder_input_ids=torch.tensor([[_start(model), *answer[:-1]]]),
        use_cache=False,
    )
    logits, tokens = out.logits[0].double(), torch.tensor(list(answer))
    return logits.logsumexp(-1) - logits.gather(-1, tokens[:, None])[:, 0]
