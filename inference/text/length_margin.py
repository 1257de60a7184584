"""By how much more a class must lead in a text of many windows than in one of a single window.

Any window of a text may raise a false alarm, so a longer text raises more of them. There are two
ways to raise its threshold: by the same for each doubling of the number of windows (`growth`), or
by steps. With steps, texts are sorted into classes of length, and each class has a threshold of its
own, calibrated on clean texts of that length alone (Mondrian conformal prediction: Vovk,
"Conditional validity of inductive conformal predictors", 2012). So texts of medium length do not
pay for the longest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from inference.text.windows import doublings


@dataclass(frozen=True, slots=True)
class LengthMargin:
    """In hundredths of a logit: `growth` for each doubling of the number of windows, and what
    `steps` says for the largest of its numbers of windows that a text has.
    """

    growth: int = 0
    steps: Mapping[int, int] = field(default_factory=dict)

    def at(self, windows: int) -> float:
        """Of a text of so many windows."""
        reached = [begin for begin in self.steps if begin <= windows]
        return self.growth * doublings(windows) + (self.steps[max(reached)] if reached else 0)
