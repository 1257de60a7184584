"""The section `[search]` of a recipe: among which students one is looked for, under what budget."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from sealgate.settings import ConfigError

_CHOICES = ("layers", "width", "heads", "vocabulary")


@dataclass(frozen=True, slots=True)
class Search:
    """`trials` students are tried, each for `epochs` of the recipe's first step (0: all of them).

    The found one's serving graph and tokenizer have at most `megabytes` (10^6 bytes), and a row
    takes at most `milliseconds` of one core; at least one of the two is given. The lists are what
    is chosen from; a setting without a list stays the student's.
    """

    trials: int = 0
    epochs: int = 0
    megabytes: float = 0.0
    milliseconds: float = 0.0
    layers: tuple[int, ...] = ()
    width: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    vocabulary: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.trials:
            if any(getattr(self, item.name) for item in fields(self)):
                raise ConfigError("[search] needs trials")
            return
        if not self.megabytes and not self.milliseconds:
            raise ConfigError("[search] needs a budget: megabytes, milliseconds or both")
        if len(list(self.students())) < 2:
            raise ConfigError(f"[search] needs lists to choose from: {', '.join(_CHOICES)}")

    @property
    def choices(self) -> Mapping[str, tuple[int, ...]]:
        """What there is to choose from, by the student's setting; each once, in order."""
        found = {name: tuple(sorted(set(getattr(self, name)))) for name in _CHOICES}
        return {name: values for name, values in found.items() if values}

    def students(self) -> Iterator[dict[str, Any]]:
        """The settings of every student of the space."""
        for values in product(*self.choices.values()):
            yield dict(zip(self.choices, values, strict=True))
