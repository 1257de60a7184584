"""When requests come: a Poisson process of single requests and of bursts."""

import numpy as np
import numpy.typing as npt

# Half of the requests come in bursts, of this many on average (geometric, two at least).
_BURST = 8
# Seconds between the requests of a burst.
_SPACING = 100e-6


def arrivals(rate: float, seconds: float, seed: int) -> npt.NDArray[np.float64]:
    """Moments in [0, seconds), ascending; `rate` a second on average."""
    rng = np.random.default_rng(seed)
    singles = rng.uniform(0, seconds, rng.poisson(rate / 2 * seconds))
    starts = rng.uniform(0, seconds, rng.poisson(rate / 2 * seconds / _BURST))
    sizes = 1 + rng.geometric(1 / (_BURST - 1), len(starts))
    bursts = [start + _SPACING * np.arange(size) for start, size in zip(starts, sizes, strict=True)]
    moments = np.sort(np.concatenate([singles, *bursts]))
    return moments[moments < seconds]
