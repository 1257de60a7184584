"""The threshold of texts that a tool has fetched, which the policy's `margin` sets for that role.

It follows from the e-mails and from the documents of the calibration slice, as the general one
follows from all of its prompts: of either kind at most `BOUND` are called an injection, with the
recipe's confidence. A text counts whole, with all of its windows. None of the sets that are
measured has a part in it.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.guard.baselines import Learnt
from benchmarks.guard.prompts import Prompts
from benchmarks.guard.published import Margins, share
from inference.screening.calibration import conformal_rank
from training.data import CALIBRATION

BOUND = 0.02
FETCHED = ("e-mails", "documents", "2,000 clean words")
PLANTED = ("between two e-mails", "between 2,000 clean words")
FROM_A_TOOL = "{}, from a tool"


def margin(learnt: Learnt, margins: Margins, fetched: Sequence[Iterable[str]]) -> int:
    """In hundredths of a logit, rounded up; `fetched` are all texts that a recipe reads of each
    kind.
    """
    return max(math.ceil(100 * _threshold(learnt, margins, texts)) for texts in fetched)


def _threshold(learnt: Learnt, margins: Margins, texts: Iterable[str]) -> float:
    """Above it are no more of the calibration slice's texts of a kind than the bound allows."""
    windows = learnt.windows
    known = {window for text in texts for window in windows.of(text)}
    shown, asked = learnt.slices[CALIBRATION], learnt.recipe.alarms
    highest: dict[int, float] = {}
    places = [at for at, said in enumerate(shown.said) if said in known and not shown.sought[at]]
    leads = margins.of_windows([shown.said[at] for at in places])
    for at, lead in zip(places, leads, strict=True):
        number = int(shown.prompts[at])
        highest[number] = max(highest.get(number, -math.inf), float(lead))
    ordered = np.sort(list(highest.values()))
    place = conformal_rank(len(ordered), BOUND, asked.confidence) if len(ordered) else 0
    if place == 0:
        raise ValueError(f"{len(ordered)} texts of a kind cannot back {BOUND}")
    return float(ordered[-place])


def rows(margins: Margins, sets: Sequence[Prompts], hundredths: int) -> list[dict[str, Any]]:
    """How many of the sets that are documents alarm by that margin."""
    found = []
    for prompts in sets:
        if prompts.name in (FETCHED if prompts.clean else PLANTED):
            kind = "false_alarms" if prompts.clean else "found"
            called = margins.of(prompts.asked) > hundredths / 100
            found.append({"prompts": FROM_A_TOOL.format(prompts.name), **share(kind, called)})
    return found
