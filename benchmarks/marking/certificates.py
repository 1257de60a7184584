"""The part of a network's certificates that survives a mark."""

import numpy as np

from benchmarks.marking.marks import Marking
from benchmarks.marking.subjects import SIZES, MarkedNetwork
from benchmarks.report import Row


def certificates(subject: MarkedNetwork, keys: int) -> list[Row]:
    """By size of a change: the share of test rows proved before the mark, and after it by keys.

    A network that was not trained to be certified has none.
    """
    if subject.proved is None:
        return []
    before = subject.proved(subject.state)
    after = np.array([subject.proved(Marking(subject, 100 + key).state) for key in range(keys)])
    return [
        {
            "model": subject.name,
            "within": size,
            "keys": keys,
            "before": before[place],
            "after_mean": float(after[:, place].mean()),
            "after_worst": float(after[:, place].min()),
        }
        for place, size in enumerate(SIZES)
    ]
