"""The margin below which an answer in INT8 may be of another class in float32.

ROOM times the largest margin of a row that was seen, and whose class rounding had turned. Where
there is none, ROOM times the most by which INT8 logits moved one class against another.
"""

from dataclasses import dataclass

import numpy as np

from inference.model.inputs import InputForm
from inference.runtime.session import Session
from inference.screening.detector import disagreeing
from publishing.attacks.probe import Array, Floats
from publishing.calibration.detector_fit import FitRows

ROOM = 2.0
"""For rows that are rounded worse than any that was seen."""
_AT_ONCE = 128


@dataclass(frozen=True, slots=True)
class TimedGraphs:
    """The graphs that are timed: the INT8 graph as it answers, float32 beside it, and the response
    graph as it screens.
    """

    int8: Session
    float32: Session
    response: Session
    form: InputForm


def least_margin(seen: FitRows, graphs: TimedGraphs, *more: Array) -> float:
    """See the module; `seen` are clean, changed and attacked rows, and there are `more`."""
    turned, moved = 0.0, 0.0
    parts = (seen.clean, *seen.shifted, *seen.harmful.values())
    for part in (*(each.rows for each in parts), *more):
        for at in range(0, len(part), _AT_ONCE):
            rows = part[at : at + _AT_ONCE]
            logits, reference = (
                _logits(run, graphs.form, rows) for run in (graphs.int8, graphs.float32)
            )
            off, ranked = logits - reference, np.sort(logits, axis=1)
            moved = max(moved, float((off.max(axis=1) - off.min(axis=1)).max()))
            margins = (ranked[:, -1] - ranked[:, -2])[disagreeing(logits, reference) == 1]
            turned = max(turned, float(margins.max(initial=0)))
    return ROOM * (turned or moved)


def _logits(run: Session, form: InputForm, rows: Array) -> Floats:
    """Of rows [n, ...], [n, C]."""
    (found,) = form.run(rows, lambda part: tuple(run.run(form.serving(part))))
    return found
