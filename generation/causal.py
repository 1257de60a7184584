"""Decoders: what they are asked stands before what they answer, and they know both."""

from collections.abc import Sequence
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from generation.batches import Batches
from generation.family import Said
from generation.greedy import generated
from generation.settings import GenerationSettings
from generation.surprise import perplexity

# Of so many tokens of the prompts, perplexity is measured: what marking costs is seen on few.
_MEASURED = 2048


class Causal:
    """A `Family`: Llama and Qwen2."""

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
    ) -> Batches:
        return Batches(model, ends, settings)

    def greedy(
        self, model: PreTrainedModel, ends: Sequence[int], prompt: Sequence[int], tokens: int
    ) -> list[int]:
        return generated(model, ends, prompt, tokens)[len(prompt) :]

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
