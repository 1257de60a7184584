"""False alarms of a classifier that looks for one class, bounded by where its bias lies.

The recipe's section `[alarms]` names the class. After training, that class's bias is moved so that
it wins against the others in no more texts of another class of the calibration slice than back the
bound (`inference.screening.calibration`): of texts like those, at most `bound` are called it, with
`confidence`. A text that is read in windows is called it where one of them is, so what counts is
the highest. So the version answers at its calibrated threshold, and whoever uses it needs none.
Marking and rounding to INT8 move logits a little afterwards: the report of a version says how far.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from inference.screening.calibration import conformal_rank
from sealgate.reasons import Reason, Refusal
from training.data.material import CALIBRATION, Classes, RunData
from training.models.students import logits_of
from training.recipe.recipe import AlarmsSection


@dataclass(frozen=True, slots=True)
class SettledBias:
    """Of `texts` of other classes, the margin at place `rank` from the highest is the `threshold`
    above which the class wins; so at most `bound` of such texts are called it, with `confidence`.
    """

    label: str
    bound: float
    confidence: float
    texts: int
    conformal_rank: int
    threshold: float


def check(material: RunData, asked: AlarmsSection) -> None:
    """Before anything is trained: that the rows can back the bound.

    Raises: RECIPE_INVALID for a class that the rows do not have; CALIBRATION_TOO_SMALL.
    """
    if asked.label:
        others = material.slices[CALIBRATION][1] != _sought(material, asked)
        _rank(len(np.unique(_texts(material)[others])), asked)


def _sought(material: RunData, asked: AlarmsSection) -> int:
    if asked.label not in material.read.names:
        raise Refusal(Reason.RECIPE_INVALID, f"[alarms] no row is a {asked.label!r}")
    return material.read.names.index(asked.label)


def _texts(material: RunData) -> Classes:
    """Of which text each row of the calibration slice is."""
    return material.texts.get(CALIBRATION, np.arange(len(material.slices[CALIBRATION][1])))


def _rank(texts: int, asked: AlarmsSection) -> int:
    place = conformal_rank(texts, asked.bound, asked.confidence) if texts else 0
    if place == 0:
        detail = f"{texts} texts of other classes cannot back {asked.bound}"
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, detail)
    return place


def settle(student: nn.Module, material: RunData, asked: AlarmsSection) -> SettledBias | None:
    """Move the bias of the student's head; None where the recipe looks for no class.

    Raises: RECIPE_INVALID for a class that the rows do not have; CALIBRATION_TOO_SMALL.
    """
    if not asked.label:
        return None
    sought = _sought(material, asked)
    highest = _highest(student, material, sought)
    place = _rank(len(highest), asked)
    threshold = highest[-place]
    head = student.get_submodule("head")
    with torch.no_grad():
        # The margin at that place is no alarm; the first index of equal logits would win.
        head.bias[sought] -= torch.nextafter(torch.tensor(threshold), torch.tensor(torch.inf))
    found = (len(highest), place, float(threshold))
    return SettledBias(asked.label, asked.bound, asked.confidence, *found)


def _highest(student: nn.Module, material: RunData, sought: int) -> np.ndarray:
    """Of each text of another class, the highest margin of that class, ascending [n]."""
    x, y = material.slices[CALIBRATION]
    others = y != sought
    logits = logits_of(student, torch.from_numpy(np.ascontiguousarray(x[others]))).numpy()
    margins = logits[:, sought] - np.delete(logits, sought, 1).max(1)
    texts = _texts(material)[others]
    found = np.full(texts.max(initial=-1) + 1, -np.inf, np.float32)
    np.maximum.at(found, texts, margins)
    return np.sort(found[found > -np.inf])
