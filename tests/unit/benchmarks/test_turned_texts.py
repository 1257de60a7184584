"""Texts that turn INT8 and not float32, of two made-up models."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.screening.turned_texts import turned_alone
from publishing.attacks.text_probe import LEAST

Ids = npt.NDArray[np.int64]


def above(limit: int) -> Any:
    """A model that answers 1 where a text's tokens come to more than `limit`."""
    return lambda rows: (rows.sum(axis=1) > limit).astype(np.int64)


@dataclass
class LoudProbe:
    """Its attack sets every token to the highest."""

    stock: Ids = field(default_factory=lambda: np.arange(10))

    def attacks(self, x: Ids, generator: np.random.Generator) -> Iterator[tuple[str, Ids]]:
        yield "hotflip-0.4", np.full_like(x, 9)
        yield LEAST, x

    def nearest(self, x: Ids, moved: Ids, answers: Any) -> Ids:
        found = x.copy()
        for row, there in zip(found, moved, strict=True):
            for place in range(x.shape[1]):
                row[place] = there[place]
                if answers(row[None])[0]:
                    break
        return found


def test_each_text_found_turns_int8_alone() -> None:
    x = np.zeros((40, 6), np.int64)
    int8, float32 = above(20), above(23)
    probe: Any = LoudProbe()
    found = turned_alone(probe, x, int8, float32, np.random.default_rng(0))
    # Nine by nine the sum passes over the gap from 21 to 23; one other token leads into it.
    assert len(found) > 30
    assert (int8(found) == 1).all()
    assert (float32(found) == 0).all()
    assert ((found != 0).sum(axis=1) <= 3).all()


def test_models_that_agree_leave_no_text() -> None:
    x = np.zeros((5, 6), np.int64)
    probe: Any = LoudProbe()
    found = turned_alone(probe, x, above(20), above(20), np.random.default_rng(0))
    assert found.shape == (0, 6)
