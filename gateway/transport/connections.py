"""Which connections of a listener are ended: those on which nobody authenticates, before others.

A caller is known on a connection once one of its calls there has authenticated. Of a listener's
connections these are ended:

1. those without a known caller after `authenticate_within` seconds;
2. of one address the oldest without a known caller, beyond `unauthenticated_per_address`;
3. the oldest without a known caller, beyond `connections` in all;
4. the newest of known callers, beyond `connections`.

Rules 2 and 3 spare a connection for its first second. So whoever opens many connections at once
ends their own, and somebody who connects after them has the time for a handshake and a call.
"""

import ipaddress
import resource
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar

from gateway.config.sections import GatewayLimits

_SPARED_SECONDS = 1.0
# What one customer of a provider gets of IPv6 has at least so many addresses.
_SUBNET_BITS = 64
# Connections that may be open beyond `connections` until the next look at them, and the file
# descriptors that are left to all else.
_ROOM = 2_048
_OWN_FILES = 1_024


class Connection(Protocol):
    """`since` is on the monotonic clock."""

    @property
    def address(self) -> str: ...

    @property
    def since(self) -> float: ...

    @property
    def is_known(self) -> bool: ...


T = TypeVar("T", bound=Connection)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What `[limits]` says of connections, of each listener."""

    connections: int
    per_address: int
    seconds: float

    @classmethod
    def of(cls, limits: GatewayLimits) -> "Bounds":
        return cls(
            limits.connections, limits.unauthenticated_per_address, limits.authenticate_within
        )

    def to_end(self, connections: Iterable[T], now: float) -> list[T]:
        """The connections of one listener that are to be ended now."""
        oldest_first = sorted(connections, key=lambda each: each.since)
        known = [each for each in oldest_first if each.is_known]
        others = [each for each in oldest_first if not each.is_known]
        late = [each for each in others if now - each.since >= self.seconds]
        others = others[len(late) :]
        surplus = list(self._beyond(others))
        spared = [each for each in surplus if now - each.since >= _SPARED_SECONDS]
        return late + spared + known[self.connections :]

    def _beyond(self, oldest_first: list[T]) -> Iterator[T]:
        """Rules 2 and 3."""
        taken: defaultdict[str, int] = defaultdict(int)
        total = 0
        for each in reversed(oldest_first):
            subnet = subnet_of(each.address)
            if taken[subnet] >= self.per_address or total >= self.connections:
                yield each
            else:
                taken[subnet] += 1
                total += 1


@lru_cache(4096)
def subnet_of(address: str) -> str:
    """An address of IPv4, or the network to which one of IPv6 belongs; IPv4 in IPv6 is IPv4."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, _SUBNET_BITS), strict=False))
        found = found.ipv4_mapped
    return str(found)


def room_for_unknown(bounds: Bounds, listeners: int) -> int:
    """How many connections each of so many listeners may have beyond `connections` for a moment, as
    far as there are file descriptors; more are closed as they come.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    share = (soft - _OWN_FILES) // max(1, listeners) - bounds.connections
    return max(0, min(_ROOM, share))


def raise_file_limit() -> None:
    """Use all the file descriptors that this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
