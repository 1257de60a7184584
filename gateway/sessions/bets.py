"""Bets against an honest stream: evidence that grows where what is rare comes often.

A payoff is a number that an honest stream makes 1 on average at most, given all that came before:
1000 for what happens once in a thousand at most, else 0. Stakes of 80%, 10% and 1% are laid on it
side by side, so that what comes in a burst and what comes now and then both show.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_SHARES = (0.8, 0.1, 0.01)
_STAKES = np.array(_SHARES)
_NOTHING = (0.0,) * len(_SHARES)


def _nothing() -> npt.NDArray[np.float64]:
    return np.zeros(len(_STAKES))


@dataclass(slots=True)
class Alarm:
    """Shiryaev-Roberts statistics M ← e · (M + 1), averaged. M - t is a supermartingale, so an
    honest stream of t payoffs passes `level` with a chance of t / level at most (Doob), wherever it
    begins. For a stream that goes on for ever: once in `level` payoffs on average at most.
    """

    level: float
    # Plain numbers: of so few, arrays would take several times as long.
    _values: tuple[float, ...] = _NOTHING

    def add(self, payoff: float) -> bool:
        """Take one payoff; True where the level is passed, and then begin anew."""
        pairs = zip(_SHARES, self._values, strict=True)
        self._values = tuple((1 - stake + stake * payoff) * (value + 1) for stake, value in pairs)
        if sum(self._values) < self.level * len(_SHARES):
            return False
        self._values = _NOTHING
        return True


@dataclass(slots=True)
class Wealth:
    """A test martingale: an honest stream ever reaches 1 / alpha with a chance of alpha at most
    (Ville), however long it goes on and whenever one looks.
    """

    _logs: npt.NDArray[np.float64] = field(default_factory=_nothing)

    def add(self, payoff: float) -> None:
        self._logs = self._logs + np.log(1 - _STAKES + _STAKES * payoff)

    @property
    def log10(self) -> float:
        """The evidence so far, as a power of ten; below 0 where there is none."""
        most = self._logs.max()
        mean = np.exp(self._logs - most).mean()
        return float((most + np.log(mean)) / np.log(10))


def verdict_payoff(verdict: str, adversarial: float, suspect: float) -> float:
    """The payoff of a verdict, where honest requests are adversarial, and suspect or worse, with
    chances of `adversarial` and `suspect` at most: half is laid on either.
    """
    payoffs = {"clean": 0.0, "suspect": 0.5 / suspect}
    return payoffs.get(verdict, 0.5 / suspect + 0.5 / adversarial)
