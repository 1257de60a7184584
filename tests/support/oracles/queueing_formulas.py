"""Mean waits in the simplest queues, by the formulas that hold for them exactly."""

import math


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
