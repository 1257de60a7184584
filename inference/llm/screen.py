"""The screen of a language model's prompts, as publishing signs it in `generator.json`."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

from sealgate.trust import fields


@dataclass(frozen=True, slots=True)
class SuffixWeights:
    """The weight of each feature of a window of tokens, and what is subtracted from their sum; see
    `generation.models.suffixes`.
    """

    surprise: float
    entropy: float
    blank: float
    letters: float
    odd: float
    distinct: float
    offset: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(_number(getattr(self, name))) for name in self.__slots__):
            raise fields.malformed("weights are finite numbers")


@dataclass(frozen=True, slots=True)
class PromptScreen:
    """Scores a prompt by how much `window` consecutive tokens surprise the model, and look like an
    optimised suffix.

    The score is that of the window with the highest one by `weights`, minus `tail` for each factor
    e by which the prompt is longer than the window. Without weights, as in versions of earlier
    releases, a window's score is its mean surprise beyond expectation, in nats. Above `threshold`
    a prompt is adversarial; at most `bound` of clean prompts are, with `confidence`, as far as they
    resemble the `prompts` used for calibration.
    """

    window: int
    threshold: float
    bound: float
    confidence: float
    prompts: int
    tail: float
    weights: SuffixWeights | None = None

    def __post_init__(self) -> None:
        fields.integer(self.window, 2)
        fields.integer(self.prompts, 1)
        for share in (self.bound, self.confidence):
            if not 0 < _number(share) < 1:
                raise fields.malformed("a bound and a confidence lie between 0 and 1")
        _number(self.threshold)
        if not 0 <= _number(self.tail) < math.inf:
            raise fields.malformed("a tail is not negative")

    def as_json(self) -> dict[str, Any]:
        """As in `generator.json`; weights are left out where there are none."""
        names = [name for name in PromptScreen.__slots__ if name != "weights"]
        said: dict[str, Any] = {name: getattr(self, name) for name in names}
        return said | ({} if self.weights is None else {"weights": asdict(self.weights)})

    @classmethod
    def of_json(cls, value: Any) -> Self:
        """Read what `as_json` writes."""
        found = fields.mapping(value)
        names = [name for name in PromptScreen.__slots__ if name != "weights" or name in found]
        said = fields.record(value, names)
        if "weights" in said:
            weights = SuffixWeights(**fields.record(said["weights"], SuffixWeights.__slots__))
            return cls(**{**said, "weights": weights})
        return cls(**said)

    def verdict(self, score: float) -> str:
        """`clean` or `adversarial`; what is no number is adversarial."""
        return "clean" if score <= self.threshold else "adversarial"


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fields.malformed("a number is expected")
    return float(value)
