"""Golden answers: prompts, their token ids, and the ids of greedy generation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

TYPE = "sealgate/generator-golden/v1"
TOKENS = 16
"""How many tokens of each answer are kept."""
_MOST = 64


@dataclass(frozen=True, slots=True)
class GoldenAnswer:
    prompt: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GoldenAnswers:
    """`golden.json`: one answer or more. Raises SealgateError(DOCUMENT_MALFORMED)."""

    answers: tuple[GoldenAnswer, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.answers) <= _MOST:
            raise fields.malformed(f"there are 1 to {_MOST} golden answers")

    def encode(self) -> bytes:
        answers = [
            {"prompt": one.prompt, "prompt_ids": list(one.prompt_ids), "ids": list(one.ids)}
            for one in self.answers
        ]
        return canonical.encode({"type": TYPE, "answers": answers})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` writes."""
        top = fields.record(canonical.decode(data), ("answers",), TYPE)
        found = []
        for item in fields.items(top["answers"]):
            one = fields.record(item, ("prompt", "prompt_ids", "ids"))
            found.append(
                GoldenAnswer(fields.text(one["prompt"]), _ids(one["prompt_ids"]), _ids(one["ids"]))
            )
        return cls(tuple(found))

    def check(
        self,
        tokenize: Callable[[str], Sequence[int]],
        generate: Callable[[Sequence[int], int], Sequence[int]],
    ) -> None:
        """Check that prompts are cut and answered as the publisher's were; `generate` is given ids
        and how many to make, and returns as many or fewer, greedily.

        Raises SealgateError(GOLDEN_MISMATCH).
        """
        for one in self.answers:
            if tuple(tokenize(one.prompt)) != one.prompt_ids:
                raise SealgateError(Reason.GOLDEN_MISMATCH, "a golden prompt has other tokens here")
            if tuple(generate(one.prompt_ids, TOKENS)) != one.ids:
                raise SealgateError(
                    Reason.GOLDEN_MISMATCH, "a golden prompt is answered differently here"
                )


def _ids(value: object) -> tuple[int, ...]:
    return tuple(fields.integer(item) for item in fields.items(value))
