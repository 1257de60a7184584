"""Decoder-only models (Llama, Qwen2): loading, batching and prompt screening."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from generation.batching.causal_batches import CausalBatches
from generation.config import GenerationSettings
from generation.models.family import Said
from generation.models.perplexity import perplexity


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
    ids = torch.tensor([list(prompt)])
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

    def answers(
        self,
        model: PreTrainedModel,
        ends: Sequence[int],
        settings: GenerationSettings,
        longest: int,
    ) -> CausalBatches:
        return CausalBatches(model, ends, settings)

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
