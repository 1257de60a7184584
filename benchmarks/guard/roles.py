"""The threshold of texts that a tool has fetched, which the policy's `margin` sets for that role.

It follows from the e-mails of the calibration slice, as the general one follows from all of its
prompts: at most `BOUND` of texts like these are called an injection, with the recipe's confidence.
None of the sets that are measured has a part in it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.guard.baselines import Learnt
from benchmarks.guard.prompts import Prompts
from benchmarks.guard.published import Margins, share
from inference.screening.calibration import conformal_rank
from training.data.run_data import CALIBRATION

BOUND = 0.02
FETCHED = ("e-mails", "documents", "2,000 clean words")
PLANTED = ("between two e-mails", "between 2,000 clean words")
FROM_A_TOOL = "{}, from a tool"


def margin(learnt: Learnt, margins: Margins, letters: Iterable[str]) -> int:
    """In hundredths of a logit, rounded up; `letters` are all that a recipe learns from."""
    windows = learnt.windows
    known = {window for letter in letters for window in windows.of(letter)}
    shown, asked = learnt.slices[CALIBRATION], learnt.recipe.alarms
    highest: dict[int, float] = {}
    places = [at for at, said in enumerate(shown.said) if said in known and not shown.sought[at]]
    leads = margins.of_windows([shown.said[at] for at in places])
    for at, lead in zip(places, leads, strict=True):
        number = int(shown.prompts[at])
        highest[number] = max(highest.get(number, -math.inf), float(lead))
    ordered = np.sort(list(highest.values()))
    place = conformal_rank(len(ordered), BOUND, asked.confidence)
    return math.ceil(100 * float(ordered[-place]))


def rows(margins: Margins, sets: Sequence[Prompts], hundredths: int) -> list[dict[str, Any]]:
    """How many of the sets that are documents alarm by that margin."""
    found = []
    for prompts in sets:
        if prompts.name in (FETCHED if prompts.clean else PLANTED):
            kind = "false_alarms" if prompts.clean else "found"
            called = margins.of(prompts.asked) > hundredths / 100
            found.append({"prompts": FROM_A_TOOL.format(prompts.name), **share(kind, called)})
    return found
