"""False alarms of a classifier that looks for one class, bounded by where its bias lies.

The recipe's section `[alarms]` names the class. After training, that class's bias is moved so that
it wins against the others in no more texts of another class of the calibration slice than back the
bound (`inference.screening.conformal`): of texts like those, at most `bound` are called it, with
`confidence`. A text that is read in windows is called it where one of them is, so what counts is
the highest. So the version answers at its calibrated threshold, and whoever uses it needs none.
Marking and rounding to INT8 move logits a little afterwards: the report of a version says how far.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from inference.screening.conformal import rank
from sealgate.reasons import Reason, Refusal
from training.material import CALIBRATION, Material
from training.recipe import Alarms
from training.students import logits_of


@dataclass(frozen=True, slots=True)
class Settled:
    """Of `texts` of other classes, the margin at place `rank` from the highest is the `threshold`
    above which the class wins; so at most `bound` of such texts are called it, with `confidence`.
    """

    label: str
    bound: float
    confidence: float
    texts: int
    rank: int
    threshold: float


def settle(student: nn.Module, material: Material, asked: Alarms) -> Settled | None:
    """Move the bias of the student's head; None where the recipe looks for no class.

    Raises: RECIPE_INVALID for a class that the rows do not have; CALIBRATION_TOO_SMALL.
    """
    if not asked.label:
        return None
    if asked.label not in material.read.names:
        raise Refusal(Reason.RECIPE_INVALID, f"[alarms] no row is a {asked.label!r}")
    sought = material.read.names.index(asked.label)
    highest = _highest(student, material, sought)
    place = rank(len(highest), asked.bound, asked.confidence) if len(highest) else 0
    if place == 0:
        detail = f"{len(highest)} texts of other classes cannot back {asked.bound}"
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, detail)
    threshold = highest[-place]
    head = student.get_submodule("head")
    with torch.no_grad():
        # The margin at that place is no alarm; the first index of equal logits would win.
        head.bias[sought] -= torch.nextafter(torch.tensor(threshold), torch.tensor(torch.inf))
    found = (len(highest), place, float(threshold))
    return Settled(asked.label, asked.bound, asked.confidence, *found)


def _highest(student: nn.Module, material: Material, sought: int) -> np.ndarray:
    """Of each text of another class, the highest margin of that class, ascending [n]."""
    x, y = material.slices[CALIBRATION]
    others = y != sought
    logits = logits_of(student, torch.from_numpy(np.ascontiguousarray(x[others]))).numpy()
    margins = logits[:, sought] - np.delete(logits, sought, 1).max(1)
    texts = material.texts.get(CALIBRATION, np.arange(len(y)))[others]
    found = np.full(texts.max(initial=-1) + 1, -np.inf, np.float32)
    np.maximum.at(found, texts, margins)
    return np.sort(found[found > -np.inf])
