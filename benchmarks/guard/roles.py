"""The threshold of texts that a tool has fetched, which the policy's `margin` sets for that role.

It follows from the e-mails and from the documents of the calibration slice, as the general one
follows from all of its prompts: of either kind at most `BOUND` are called an injection, with the
recipe's confidence. A text counts whole, with all of its windows, by which the margin grows as the
general one does. None of the sets that are measured has a part in it.

One margin serves every role whose texts are fetched, `tool` or `document`: the higher one of both
kinds. What `system` says is the operator's own, and is judged by the general margin.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.guard.baselines import Learnt
from benchmarks.guard.prompts import Prompts
from benchmarks.guard.published import Margins, share
from inference.screening.calibration import conformal_rank
from training.data import CALIBRATION
from training.run.alarms import ByText

BOUND = 0.02
FETCHED = ("e-mails", "whole e-mails", "documents", "2,000 clean words")
PLANTED = ("between two e-mails", "between 2,000 clean words")
FROM_A_TOOL = "{}, from a tool"


def by_kind(
    learnt: Learnt, margins: Margins, fetched: Mapping[str, Iterable[str]]
) -> dict[str, int]:
    """The margin of each kind in hundredths of a logit, rounded up; `fetched` are all texts that a
    recipe reads of it.
    """
    return {
        kind: math.ceil(100 * _threshold(learnt, margins, texts)) for kind, texts in fetched.items()
    }


def _threshold(learnt: Learnt, margins: Margins, texts: Iterable[str]) -> float:
    """Above it are no more of the calibration slice's texts of a kind than the bound allows."""
    windows = learnt.windows
    known = {window for text in texts for window in windows.of(text)}
    shown, asked = learnt.slices[CALIBRATION], learnt.recipe.alarms
    places = [at for at, said in enumerate(shown.said) if said in known and not shown.sought[at]]
    leads = margins.of_windows([shown.said[at] for at in places])
    clean = ByText.of(leads, shown.prompts[places])
    count = len(clean.highest)
    place = conformal_rank(count, BOUND, asked.confidence) if count else 0
    if place == 0:
        raise ValueError(f"{count} texts of a kind cannot back {BOUND}")
    return float(clean.threshold(place, margins.growth))


def rows(margins: Margins, sets: Sequence[Prompts], hundredths: int) -> list[dict[str, Any]]:
    """How many of the sets that are documents alarm by that margin."""
    found = []
    for prompts in sets:
        if prompts.name in (FETCHED if prompts.clean else PLANTED):
            kind = "false_alarms" if prompts.clean else "found"
            called = margins.of(prompts.asked) > hundredths / 100
            found.append({"prompts": FROM_A_TOOL.format(prompts.name), **share(kind, called)})
    return found
