"""Fashion-MNIST, with a model as `make bench NAME=screening` trains it."""

import numpy as np

from benchmarks.screening.sources import FASHION
from benchmarks.screening.subjects import PLAIN, subject
from benchmarks.subjects import Guarded, Subject, fashion_rows
from gateway.sessions.prints import Printer

# Rows that are in no slice of it.
_UNSEEN, _MORE = 6600, 4000


def fashion() -> Subject:
    """The plain model. Raises FileNotFoundError where there are no data."""
    found = subject(FASHION, PLAIN, 0)
    (detector,) = found.detectors()
    probe = found.probe
    x, y = found.slices["test"]
    right = np.flatnonzero(probe.answers(x) == y)
    guarded = Guarded(probe, detector, Printer(b"k" * 32, "fashion"), alike=True)
    return Subject(guarded, x, y, right)


def unseen(part: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes that neither model nor detector has seen, part 0 or 1 of them."""
    found = fashion_rows(_UNSEEN + 2 * _MORE)
    if found is None:
        raise FileNotFoundError("Fashion-MNIST")
    at = slice(_UNSEEN + part * _MORE, _UNSEEN + (part + 1) * _MORE)
    return found[0][at], found[1][at]
