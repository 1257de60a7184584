"""Feature vectors of traffic, kept for a limited time for a new calibration.

They are the screening features of every request, whatever its verdict: a calibration on accepted
requests alone would flag more and more of the rest. Inputs, callers and answers are not stored. For
each version and day there is one file, `DIGEST/YYYY-MM-DD.WIDTH.f32`: rows of WIDTH float32,
little-endian, one after the other.

A repeated row says nothing new about traffic. Graphs measure it slightly differently in another
batch, so repeats are found by comparing features in steps of STEP of their spread on clean rows.
"""

import re
import threading
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.screening.detector import Detector
from sealgate.trust.canonical import raw

Features = npt.NDArray[np.float32]
_FILE = re.compile(r"(\d{4}-\d{2}-\d{2})\.([1-9]\d{0,3})\.f32")


class TrafficFolder:
    """Writes and reads the feature files. Safe for many threads of one process."""

    def __init__(self, folder: Path, days: int, rows_a_day: int) -> None:
        """Keep the last `days`, and per day and version at most the first `rows_a_day`."""
        self._folder = folder
        self._days = days
        self._rows_a_day = rows_a_day
        self._mutex = threading.Lock()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, digest: str, features: Features, today: date) -> int:
        """Append rows [n, F] of a version; return how many there was room for. Raises OSError."""
        place = self._folder / raw(digest).hex()
        width = features.shape[1]
        with self._mutex:
            place.mkdir(mode=0o700, exist_ok=True)
            with (place / f"{today.isoformat()}.{width}.f32").open("ab") as file:
                room = self._rows_a_day - file.tell() // (4 * width)
                taken = features[: max(0, room)]
                file.write(np.ascontiguousarray(taken, "<f4").tobytes())
        return len(taken)

    def read(self, digest: str, width: int, today: date) -> Features:
        """All rows [n, width] of a version that are kept; none where there are none."""
        found = [
            np.fromfile(path, "<f4")
            for path in sorted((self._folder / raw(digest).hex()).glob("*.f32"))
            if self._kept(path, today) and path.name.endswith(f".{width}.f32")
        ]
        # A write that was cut off leaves part of a row at the end.
        rows = [part[: len(part) // width * width].reshape(-1, width) for part in found]
        return np.concatenate(rows) if rows else np.empty((0, width), np.float32)

    def prune(self, today: date) -> None:
        """Remove what is older than is kept."""
        with self._mutex:
            for path in self._folder.glob("*/*.f32"):
                if not self._kept(path, today):
                    path.unlink(missing_ok=True)
            for place in self._folder.iterdir():
                with suppress(OSError):
                    # Only what is empty goes.
                    place.rmdir()

    def _kept(self, path: Path, today: date) -> bool:
        named = _FILE.fullmatch(path.name)
        return named is not None and date.fromisoformat(named[1]) > today - timedelta(self._days)


STEP = 0.01
_Floats = npt.NDArray[np.float64]
# Stands for what was not measured, where only numbers can be compared.
_NONE = -1e300


def comparison_steps(detector: Detector) -> _Floats:
    """The step sizes in which each feature is compared, [F]."""
    first = () if detector.first is None else detector.first.scoring.scaling.spread
    spread = (*first, *detector.scaling.spread)
    # A feature without spread is a sign, and is compared as it is.
    found = np.ones(detector.width)
    found[: len(spread)] = STEP * np.array(spread)
    return found


def quantized_features(found: _Floats, features: npt.NDArray[np.floating[Any]]) -> _Floats:
    """Features [n, F] quantized by these steps [F]: rows with equal bytes are repeats."""
    # There is one zero, so that its bytes are the same.
    return np.rint(features / found) + 0.0


def without_repeats(
    detector: Detector, features: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Features [n, F] without repeated rows, in their order."""
    rows = np.nan_to_num(quantized_features(comparison_steps(detector), features), nan=_NONE)
    _, first = np.unique(rows, axis=0, return_index=True)
    return features[np.sort(first)]
