"""Which rows are repeats of one another, by what screening measured of them.

A row that comes again tells nothing new of traffic. The graphs measure it a little differently in
another batch, so features are compared in steps of STEP of their spread on clean rows.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from inference.screening.detector import Detector

STEP = 0.01
_Floats = npt.NDArray[np.float64]
# Stands for what was not measured, where only numbers can be compared.
_NONE = -1e300


def steps(detector: Detector) -> _Floats:
    """How long the steps are in which each feature is compared, [F]."""
    first = () if detector.first is None else detector.first.scoring.scaling.spread
    spread = (*first, *detector.scaling.spread)
    # What has no spread is a sign, and compared as it is.
    found = np.ones(detector.width)
    found[: len(spread)] = STEP * np.array(spread)
    return found


def places(found: _Floats, features: npt.NDArray[np.floating[Any]]) -> _Floats:
    """Where features [n, F] lie by these steps [F]: rows whose bytes are the same are repeats."""
    # There is one zero, so that its bytes are the same.
    return np.rint(features / found) + 0.0


def distinct(detector: Detector, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of features [n, F] those of each row once, in their order."""
    rows = np.nan_to_num(places(steps(detector), features), nan=_NONE)
    _, first = np.unique(rows, axis=0, return_index=True)
    return features[np.sort(first)]
