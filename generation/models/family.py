"""The interface of a model family: what differs between architectures."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeAlias

from transformers import PreTrainedModel

from generation.batching.cache_queue import CacheQueue
from generation.config import GenerationSettings
from inference.llm.request import Sampling

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
    """What it does, by the name that transformers and model cards have for it."""
    measures: bool
    """Whether a model says how likely a prompt is, so that prompts can be screened by it."""

    def check(self, config: Any) -> None:
        """Raises ValueError for a configuration that lacks what answering needs."""

    def positions(self, config: Any) -> int:
        """How many tokens, of prompt and answer together, it takes."""

    def answers(
        self,
        model: PreTrainedModel,
        ends: Sequence[int],
        settings: GenerationSettings,
        longest: int,
    ) -> AnswerBatches:
        """What answers; prompt and answer together have at most `longest` tokens."""

    def greedy(
        self, model: PreTrainedModel, ends: Sequence[int], prompt: Sequence[int], tokens: int
    ) -> list[int]:
        """By plain `generate`, which what serves is held against."""

    def material(
        self, model: PreTrainedModel, ends: Sequence[int], prompts: Sequence[Sequence[int]]
    ) -> list[Said]:
        """Of what perplexity is measured, given prompts of which one has two tokens at least."""

    def perplexity(self, model: PreTrainedModel, material: Sequence[Said]) -> float:
        """e to the mean of -log p of what is asked of, over all its tokens."""
