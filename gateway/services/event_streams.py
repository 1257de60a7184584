"""Streams that follow the registry or a log for as long as their caller may.

A stream holds no queue: it waits at its place in the log, reads a page from there, and goes on when
the other end has taken it. So a slow reader costs a page of memory, and whoever was cut off goes on
at their own place. Each wait holds a thread of the stream limiter's own, which others cannot miss.

Before each message the caller's credential, role and rights are looked at again; so is the
credential every second while nothing happens.
"""

import time
from collections.abc import Callable, Iterator, Mapping

from gateway.auth import Rights
from gateway.calls.call import Call
from gateway.config.sections import GatewayLimits
from gateway.services.log_follower import LogFollower, Pages
from gateway.services.registry_messages import KINDS, change_message
from registry.answers import AnswerLog
from registry.audit import FeedChange
from registry.log.reader import LogReader
from registry.registry import Registry
from registry.storage.changes import PollingChanges
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import check_name
from sealgate.trust.transparency import open_checkpoint
from sealgate.v1 import log_pb2, registry_pb2

_LOOK_SECONDS = 1.0

Admit = Callable[[Call, str], None]


class _Watcher:
    """One stream's time: when there is more, when to give a sign of life, when it is over."""

    def __init__(
        self, call: Call, follower: LogFollower, admit: Admit, limits: GatewayLimits
    ) -> None:
        self._call = call
        self._follower = follower
        self._admit = admit
        self._heartbeat = limits.heartbeat
        self._ends = time.monotonic() + limits.stream
        self._beats = time.monotonic() + limits.heartbeat
        # A caller that disconnects frees its place at once.
        call.add_callback(follower.wake)

    def check(self) -> None:
        """Raises: the reasons of a credential, and ROLE_TOO_LOW."""
        self._admit(self._call, self._call.method)

    def size(self, known: int) -> int | None:
        """The log's size, once it is more than `known` or a sign of life is due; None at the end.

        Raises: as `check`; DRAINING.
        """
        while True:
            now = time.monotonic()
            if now >= self._ends or not self._call.is_active():
                return None
            size = self._follower.wait(
                known, min(_LOOK_SECONDS, max(0.0, min(self._ends, self._beats) - now))
            )
            self.check()
            if size > known or time.monotonic() >= self._beats:
                self._beats = time.monotonic() + self._heartbeat
                return size


class LogWatch:
    """Follows one log: leaves, and the checkpoint that covers them."""

    def __init__(
        self, log: LogReader, follower: LogFollower, admit: Admit, limits: GatewayLimits
    ) -> None:
        self.follower = follower
        self._log = log
        self._admit = admit
        self._limits = limits
        self.pages = Pages(lambda start, end: [*_flat(log.entries(start, end))])

    def stream(
        self, request: log_pb2.WatchLogRequest, call: Call
    ) -> Iterator[log_pb2.WatchLogResponse]:
        """Raises: ENTRY_UNKNOWN, DRAINING, and the reasons of a credential."""
        watcher = _Watcher(call, self.follower, self._admit, self._limits)
        note, size = self._checkpoint()
        at = first_index(request, size)
        if at == size:
            yield log_pb2.WatchLogResponse(index=at, note=note)
        while True:
            while at < size:
                leaves = self.pages.page(at, size)
                watcher.check()
                last = at + len(leaves) == size
                yield log_pb2.WatchLogResponse(index=at, leaves=leaves, note=note if last else "")
                at += len(leaves)
            grown = watcher.size(at)
            if grown is None:
                return
            if grown > at:
                note, size = self._checkpoint()
            else:
                yield log_pb2.WatchLogResponse(index=at)

    def _checkpoint(self) -> tuple[str, int]:
        note = self._log.checkpoint()
        return note, open_checkpoint(note, self._log.vkey).size


class ChangeWatch:
    """Follows the registry: changes, as far as the caller may read what they are about."""

    def __init__(
        self,
        registry: Registry,
        follower: LogFollower,
        admit: Admit,
        rights: Rights,
        limits: GatewayLimits,
    ) -> None:
        self.follower = follower
        self._log = registry.log
        self._admit = admit
        self._rights = rights
        self._limits = limits
        self._pages = Pages(registry.feed.read)

    def stream(
        self, request: registry_pb2.WatchChangesRequest, call: Call
    ) -> Iterator[registry_pb2.WatchChangesResponse]:
        """Raises: NAME_MALFORMED, ENTRY_UNKNOWN, DRAINING, and the reasons of a credential."""
        wanted = _Wanted(request)
        watcher = _Watcher(call, self.follower, self._admit, self._limits)
        at = first_index(request, self._log.size())
        yield registry_pb2.WatchChangesResponse(next=at)
        while (size := watcher.size(at)) is not None:
            told = at
            page = self._pages.page(at, size) if at < size else ()
            for change in page:
                at += 1
                if change is not None and wanted.takes(change):
                    watcher.check()
                    if self._may_read(call, change):
                        yield registry_pb2.WatchChangesResponse(
                            next=at, change=change_message(change)
                        )
                        told = at
            if told < at or not page:
                yield registry_pb2.WatchChangesResponse(next=at)

    def _may_read(self, call: Call, change: FeedChange) -> bool:
        if not change.model:
            return True
        return self._rights.allows(call, "read", change.model, change.alias or None)


class _Wanted:
    """The changes that a watcher has asked for."""

    def __init__(self, request: registry_pb2.WatchChangesRequest) -> None:
        self._model = check_name(request.model) if request.model else ""
        self._kinds = frozenset(request.kinds)

    def takes(self, change: FeedChange) -> bool:
        return (not self._model or change.model == self._model) and (
            not self._kinds or KINDS[change.event] in self._kinds
        )


class EventStreams:
    """The streams of this gateway: the registry's changes, and logs by origin."""

    def __init__(self, changes: ChangeWatch, logs: Mapping[str, LogWatch]) -> None:
        self.changes = changes
        self.logs = logs
        self._followers = {changes.follower, *(watch.follower for watch in logs.values())}

    @classmethod
    def over(
        cls,
        registry: Registry,
        answers: AnswerLog,
        admit: Admit,
        rights: Rights,
        limits: GatewayLimits,
    ) -> "EventStreams":
        moves = LogFollower(registry.changes(), registry.change_token, registry.log.size)
        # Nobody but this process appends to it.
        recorded = LogFollower(PollingChanges(), lambda: answers.size, lambda: answers.size)
        logs = ((registry.log, moves), (answers.reader, recorded))
        return cls(
            ChangeWatch(registry, moves, admit, rights, limits),
            {log.origin: LogWatch(log, follower, admit, limits) for log, follower in logs},
        )

    def start(self) -> None:
        for follower in self._followers:
            follower.start()

    def stop(self) -> None:
        """Ends every stream, with DRAINING."""
        for follower in self._followers:
            follower.stop()


def first_index(
    request: log_pb2.WatchLogRequest | registry_pb2.WatchChangesRequest, size: int
) -> int:
    """Where a stream begins in a log of `size` entries.

    Raises: ENTRY_UNKNOWN for a place that the log has not reached: the caller was shown another.
    """
    if not request.HasField("start"):
        return size
    if not 0 <= request.start <= size:
        raise SealgateError(Reason.ENTRY_UNKNOWN, f"start {request.start} of {size}")
    return request.start


def _flat(blocks: Iterator[list[bytes]]) -> Iterator[bytes]:
    for block in blocks:
        yield from block
