"""Thresholds of roles, which the policy's `margin` sets: at most `BOUND` of a role's texts alarm,
with the recipe's confidence.

That of texts that a tool has fetched follows from the e-mails and from the documents of the
calibration slice, as the general one follows from all of its prompts. One margin serves every role
whose texts are fetched, `tool` or `document`: the higher one of both kinds. That of `system`
follows from system prompts that are made up of parts (`demo.operators`). A text counts whole, with
all of its windows, by which the margin rises as the general one does. None of the sets that are
measured has a part in it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.guard.baselines import Learnt
from benchmarks.guard.prompts import Prompts
from benchmarks.guard.published import Margins, share
from demo.operators import system_prompts
from inference.llm.request import Sampling, SamplingRequest
from inference.screening.calibration import conformal_rank
from training.data import CALIBRATION
from training.run.lengths import ByText

BOUND = 0.02
FETCHED = ("e-mails", "whole e-mails", "documents", "2,000 clean words")
PLANTED = ("between two e-mails", "between 2,000 clean words")
FROM_A_TOOL, AS_SYSTEM = "{}, from a tool", "{}, as system"
OPERATORS = ("system prompts", "inside system prompts")
_MADE_UP = 1000


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
    return float(clean.threshold(place, margins.by_windows))


def of_system(margins: Margins, confidence: float) -> int:
    """The margin of system prompts, in hundredths of a logit, rounded up."""
    texts = [text.encode() for text in dict.fromkeys(system_prompts(_MADE_UP))]
    found = margins.of([SamplingRequest(text, False, Sampling(1)) for text in texts])
    return math.ceil(100 * np.sort(found)[-conformal_rank(len(found), BOUND, confidence)])


def rows(
    margins: Margins, sets: Sequence[Prompts], of_tools: int, of_system: int
) -> list[dict[str, Any]]:
    """How many of the sets that are a role's alarm by its margin."""
    found = []
    for prompts in sets:
        for names, role, hundredths in (
            ((*FETCHED, *PLANTED), FROM_A_TOOL, of_tools),
            (OPERATORS, AS_SYSTEM, of_system),
        ):
            if prompts.name in names:
                kind = "false_alarms" if prompts.clean else "found"
                called = margins.of(prompts.asked) > hundredths / 100
                found.append({"prompts": role.format(prompts.name), **share(kind, called)})
    return found
