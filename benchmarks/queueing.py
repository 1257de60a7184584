"""Queues, simulated event by event, and the formulas that hold for the simplest of them.

Times are in seconds, rates in events a second. Arrivals are ascending.
"""

import heapq
import math

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]


def poisson(rate: float, count: int, random: np.random.Generator) -> Times:
    """When `count` arrivals come that know nothing of one another."""
    return np.cumsum(random.exponential(1 / rate, count))


def waits(arrivals: Times, services: Times, servers: int = 1) -> Times:
    """How long each waits for the first free of `servers`, first come, first served."""
    free = [0.0] * servers
    found = np.empty(len(arrivals))
    for index, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        begun = max(arrival, free[0])
        heapq.heapreplace(free, begun + service)
        found[index] = begun - arrival
    return found


def grouped(arrivals: Times, fixed: float, each: float, most: int) -> Times:
    """How long each takes, from its arrival to its end, at one server that takes all who wait, up
    to `most`, as one group of n: `fixed + each * n`.
    """
    found = np.empty(len(arrivals))
    first, free = 0, 0.0
    while first < len(arrivals):
        begun = max(free, arrivals[first])
        last = min(int(np.searchsorted(arrivals, begun, side="right")), first + most)
        free = begun + fixed + each * (last - first)
        found[first:last] = free - arrivals[first:last]
        first = last
    return found


def mean_wait_md1(rate: float, service: float) -> float:
    """Poisson arrivals, equal services, one server (Pollaczek-Khinchine).

    Raises: ValueError where more comes than can be served.
    """
    load = _load(rate, service, 1)
    return load * service / (2 * (1 - load))


def mean_wait_mmc(rate: float, service: float, servers: int) -> float:
    """Poisson arrivals, exponential services of mean `service`, `servers` servers (Erlang's C).

    Raises: ValueError where more comes than can be served.
    """
    load = _load(rate, service, servers)
    offered = rate * service
    # Erlang's B by its recurrence, which does not overflow.
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    waiting = blocked / (1 - load * (1 - blocked))
    return waiting * service / (servers * (1 - load))


def _load(rate: float, service: float, servers: int) -> float:
    load = rate * service / servers
    if not (math.isfinite(load) and load < 1):
        raise ValueError(f"{rate} a second is more than {servers} serve")
    return load
