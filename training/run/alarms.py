"""Bounds the false alarms of a classifier that looks for one class, by moving its bias.

The recipe's section `[alarms]` names the class. After training, the bias of that class is moved so
that it wins only in as many texts of other classes of the calibration slice as the bound allows
(`inference.screening.calibration`): of such texts, at most `bound` are classified as it, with
`confidence`. A text that is read in windows is classified as it if any window is, so the highest
window counts. The version therefore answers at its calibrated threshold, and its users need none.
Marking and INT8 rounding move logits slightly afterwards; the version's report says how far.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from inference.screening.calibration import conformal_rank
from sealgate.reasons import Reason, SealgateError
from training.data.run_data import CALIBRATION, Classes, RunData
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
    rank: int
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
        raise SealgateError(Reason.RECIPE_INVALID, f"[alarms] no row is a {asked.label!r}")
    return material.read.names.index(asked.label)


def _texts(material: RunData) -> Classes:
    """Of which text each row of the calibration slice is."""
    return material.texts.get(CALIBRATION, np.arange(len(material.slices[CALIBRATION][1])))


def _rank(texts: int, asked: AlarmsSection) -> int:
    place = conformal_rank(texts, asked.bound, asked.confidence) if texts else 0
    if place == 0:
        detail = f"{texts} texts of other classes cannot back {asked.bound}"
        raise SealgateError(Reason.CALIBRATION_TOO_SMALL, detail)
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
