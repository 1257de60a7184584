"""Bounds on open connections: chooses those to end, and ends those of gRPC's listeners.

A caller is known on a connection once one of its calls there has authenticated. Of a listener's
connections these are ended:

1. those without a known caller after `authenticate_within` seconds;
2. of one address the oldest without a known caller, beyond `unauthenticated_per_address`;
3. the oldest without a known caller, beyond `connections` in all;
4. of known callers, beyond `connections`, the newest of the address that has most.

Rules 2 and 3 spare a connection for its first second. So whoever opens many connections at once
ends their own, and somebody who connects after them has the time for a handshake and a call. By
rule 4, nobody who keeps many connections shuts out those of other addresses.

grpcio can only count connections. It tells a handler its peer's address, and nobody which sockets
it has. They are found among the process's own file descriptors: connected sockets whose local port
is one of the listeners'. To end one it is shut down; gRPC then sees that its other end has gone.
Linux only. A descriptor's number may be given to another file at any time, so a socket is known by
its inode, and what is shut down is a duplicate whose inode has been looked at.
"""

import ipaddress
import logging
import os
import resource
import socket
import stat
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Protocol, TypeVar
from urllib.parse import unquote

import grpc

from gateway.auth import Authenticator
from gateway.config.sections import GatewayLimits
from sealgate.periodic import PeriodicThread
from sealgate.trust.policy import Policy, Principal

_SPARED_SECONDS = 1.0
# A provider gives each customer an IPv6 network of this prefix length, or a larger one.
_SUBNET_BITS = 64
# Connections that may be open beyond `connections` until the next look at them, and the file
# descriptors that are left to all else.
_ROOM = 2_048
_OWN_FILES = 1_024
_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_FILES = "/proc/self/fd"

Peer = tuple[str, int]


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
    """The limits on connections from `[limits]`, for each listener."""

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
        return late + spared + list(self._surplus_of(known))

    def _surplus_of(self, oldest_first: list[T]) -> Iterator[T]:
        """Rule 4."""
        held: defaultdict[str, list[T]] = defaultdict(list)
        for each in oldest_first:
            held[subnet_of(each.address)].append(each)
        for _ in range(len(oldest_first) - self.connections):
            most = max(filter(None, held.values()), key=lambda own: (len(own), own[-1].since))
            yield most.pop()

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


@dataclass(slots=True)
class Accepted:
    """A connection to one of the listeners' ports."""

    file: int
    inode: int
    listener: int
    peer: Peer
    since: float
    is_known: bool = False

    @property
    def address(self) -> str:
        return self.peer[0]


class GrpcConnections:
    """Looks at all connections four times a second between `start` and `stop`."""

    def __init__(self, bounds: Bounds, ports: Callable[[], Collection[int]]) -> None:
        """`ports` says those of the listeners."""
        self._bounds = bounds
        self._ports = ports
        self._seen: dict[tuple[int, int], Accepted | None] = {}
        # By what gRPC calls the peer.
        self._known: dict[str, Peer] = {}
        self._mutex = threading.Lock()
        self._thread = PeriodicThread("connections", _LOOK_SECONDS, self._end_surplus)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def note_caller(self, peer: str) -> None:
        """Say that a call has authenticated; `peer` is as gRPC's context has it."""
        if peer not in self._known and (found := _parsed(peer)) is not None:
            with self._mutex:
                self._known[peer] = found

    def look(self, now: float) -> int:
        """End what is to be ended; return how many connections that were."""
        with self._mutex:
            noted = list(self._known.items())
        open_ones = self._accepted(now)
        ended = 0
        for _, group in groupby(
            sorted(open_ones, key=attrgetter("listener")), attrgetter("listener")
        ):
            ended += sum(map(_end, self._bounds.to_end(group, now)))
        peers = {each.peer for each in open_ones}
        self._forget(name for name, peer in noted if peer not in peers)
        return ended

    def _accepted(self, now: float) -> list[Accepted]:
        seen, before = {}, self._seen
        for file, inode in _sockets():
            key = file, inode
            seen[key] = before[key] if key in before else self._examined(file, inode, now)
        self._seen = seen
        followed = _followed(before.values(), seen.values())
        with self._mutex:
            noted = list(self._known.items())
        self._forget(name for name, peer in noted if peer in followed)
        known = {peer for _, peer in noted} - followed
        found = [each for each in seen.values() if each is not None]
        for each in found:
            each.is_known = each.peer in known
        return found

    def _forget(self, names: Iterable[str]) -> None:
        with self._mutex:
            for name in list(names):
                self._known.pop(name, None)

    def _examined(self, file: int, inode: int, now: float) -> Accepted | None:
        with suppress(OSError):
            # Of this family for all of them: it has the largest addresses.
            looked = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, fileno=file)
            try:
                here, there = looked.getsockname(), looked.getpeername()
            finally:
                looked.detach()
            is_ours = isinstance(here, tuple) and here[1] in self._ports()
            if is_ours and isinstance(there[0], str) and _inode(file) == inode:
                return Accepted(file, inode, here[1], _peer(there[0], there[1]), now)
        return None

    def _end_surplus(self) -> None:
        try:
            ended = self.look(time.monotonic())
        except OSError as error:
            # Such as too many open files, of which some will be closed.
            _log.error("looking at connections: %s", error)
            return
        if ended:
            _log.info("ended %d connections without an authenticated caller", ended)


class NotingAuthenticator:
    """Notes on which connections a call has authenticated."""

    def __init__(self, authenticator: Authenticator, note_caller: Callable[[str], None]) -> None:
        """`note_caller` is told the peer where the call's context cannot note it."""
        self._authenticator = authenticator
        self._note_caller = note_caller

    def principal(self, context: grpc.ServicerContext, policy: Policy) -> Principal:
        """Raises whatever the authenticator raises."""
        principal = self._authenticator.principal(context, policy)
        note = getattr(context, "note_caller", None)
        if note is not None:
            note()
        else:
            self._note_caller(context.peer())
        return principal


def _followed(before: Iterable[Accepted | None], now: Iterable[Accepted | None]) -> set[Peer]:
    """Whence another connection has come since, from the same port: its caller is not known yet."""
    old = {each.peer: each.inode for each in before if each is not None}
    return {
        each.peer
        for each in now
        if each is not None and old.get(each.peer, each.inode) != each.inode
    }


def _sockets() -> Iterable[tuple[int, int]]:
    """File descriptor and inode of each socket of this process."""
    for name in os.listdir(_FILES):
        file = int(name)
        try:
            status = os.fstat(file)
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode):
            yield file, status.st_ino


def _inode(file: int) -> int:
    return os.fstat(file).st_ino


def _end(accepted: Accepted) -> bool:
    with suppress(OSError):
        file = os.dup(accepted.file)
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM, fileno=file) as mine:
            if _inode(file) == accepted.inode:
                mine.shutdown(socket.SHUT_RDWR)
                return True
    return False


def _parsed(peer: str) -> Peer | None:
    """`ipv4:127.0.0.1:1234` or `ipv6:%5B::1%5D:1234`; None for what is no such address."""
    kind, _, place = unquote(peer).partition(":")
    host, _, port = place.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    return _peer(host.strip("[]"), int(port))


def _peer(host: str, port: int) -> Peer:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host, port
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), port
