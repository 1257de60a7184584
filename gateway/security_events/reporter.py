"""Tells of security events beside the path of requests: a report adds to a count, a thread writes.

While the file or server cannot be reached, counts go on and are told once it can be; nothing
answers later for it, and nothing is refused. What is counted when the process is killed is lost
here. The answer log has every refusal of a known caller all the same.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Final

from gateway.security_events.kinds import SecurityEvent
from gateway.security_events.ocsf import CountedEvent, EventGroups, ocsf
from gateway.security_events.sinks import EventLine, SecurityEventSettings, Sink, open_sink

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_END_SECONDS = 10.0


class Reporter:
    """Writes what is reported to a sink, on a thread of its own."""

    def __init__(
        self,
        sink: Sink,
        window: float,
        clock: Callable[[], float] = time.time,
        retry: float = _RETRY_SECONDS,
    ) -> None:
        """`retry` is the seconds between attempts at a sink that fails."""
        self._sink = sink
        self._groups = EventGroups(window, clock)
        self._retry = retry
        self._release = version("sealgate")
        self._wake, self._ended = threading.Event(), threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="security events", daemon=True)
        self._thread.start()

    def report(self, event: SecurityEvent) -> None:
        """Count an event. Takes microseconds, from any thread."""
        if self._groups.add(event):
            self._wake.set()

    def stop(self) -> None:
        """Tell what is left, if the sink takes it, and end."""
        self._ended.set()
        self._wake.set()
        self._thread.join(_END_SECONDS)
        self._sink.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            if self._failing:
                self._ended.wait(self._retry)
            else:
                self._wake.wait(self._groups.next_due())
            self._wake.clear()
            self._tell(self._groups.take())
        self._tell(self._groups.take_all())

    def _tell(self, events: Sequence[CountedEvent]) -> None:
        if not events:
            return
        try:
            self._sink.send([self._line(each) for each in events])
        except Exception as error:
            # Whatever it was, without its thread nothing would be told any more.
            self._groups.put_back(events)
            if not self._failing:
                _log.error("security events are kept until they can be written: %s", error)
            self._failing = True
        else:
            self._failing = False

    def _line(self, counted: CountedEvent) -> EventLine:
        text = json.dumps(ocsf(counted, self._release))
        return EventLine(counted.event.kind, counted.first, text)


class _Current:
    """The process's reporter, if it has one."""

    reporter: Reporter | None = None


_current: Final = _Current()


def start(settings: SecurityEventSettings) -> None:
    """Report from now on what the settings ask for. Raises: ConfigError."""
    sink = open_sink(settings)
    if sink is not None:
        _current.reporter = Reporter(sink, settings.window)


def stop() -> None:
    """Write what is left, and report nothing any more."""
    reporter, _current.reporter = _current.reporter, None
    if reporter is not None:
        reporter.stop()


def is_on() -> bool:
    """Whether anybody is told of security events."""
    return _current.reporter is not None


def report(event: SecurityEvent | None) -> None:
    """Tell of an event, if there is one, and somebody to be told."""
    if event is not None and (reporter := _current.reporter) is not None:
        reporter.report(event)
