"""False alarms of a classifier that looks for one class, bounded by where its bias lies.

The recipe's section `[alarms]` names the class. After training, that class's bias is moved so that
on the calibration slice it wins against the others on no more rows of another class than back the
bound (`inference.screening.conformal`): of rows like those, at most `bound` are called it, with
`confidence`. So the version answers at its calibrated threshold, and whoever uses it needs none.
Marking and rounding to INT8 move logits a little afterwards: the report of a version says how far.
"""

import numpy as np
import torch
from torch import nn

from inference.screening.conformal import rank
from sealgate.reasons import Reason, Refusal
from training.material import Material
from training.recipe import Alarms
from training.students import logits_of


def settle(student: nn.Module, material: Material, asked: Alarms) -> None:
    """Move the bias of the student's head.

    Raises: RECIPE_INVALID for a class that the rows do not have; CALIBRATION_TOO_SMALL.
    """
    if not asked.label:
        return
    if asked.label not in material.read.names:
        raise Refusal(Reason.RECIPE_INVALID, f"[alarms] no row is a {asked.label!r}")
    sought = material.read.names.index(asked.label)
    x, y = material.slices["calibration"]
    logits = logits_of(student, torch.from_numpy(np.ascontiguousarray(x[y != sought])))
    others = logits.clone()
    others[:, sought] = -torch.inf
    margins = (logits[:, sought] - others.amax(1)).sort(descending=True).values
    place = rank(len(margins), asked.bound, asked.confidence) if len(margins) else 0
    if place == 0:
        detail = f"{len(margins)} rows of other classes cannot back {asked.bound}"
        raise Refusal(Reason.CALIBRATION_TOO_SMALL, detail)
    head = student.get_submodule("head")
    with torch.no_grad():
        # The margin at that place is no alarm; the first index of equal logits would win.
        head.bias[sought] -= torch.nextafter(margins[place - 1], torch.tensor(torch.inf))
