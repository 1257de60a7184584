"""Events are written beside the path of requests, and again where they may not have arrived."""

import errno
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway import security_events
from gateway.security_events import EventKind, SecurityEvent, SecurityEventSettings
from gateway.security_events.reporter import EventLine, FileSink, Reporter
from sealgate.settings import ConfigError

EVENT = SecurityEvent(EventKind.RIGHT_REFUSED, "ROLE_TOO_LOW", principal="client")


class FailingSink:
    """Fails so many times; `sent` are the lines that it took."""

    def __init__(self, failures: int, error: Exception) -> None:
        self._left, self._error = failures, error
        self.tried, self.took = threading.Semaphore(0), threading.Semaphore(0)
        self.sent: list[EventLine] = []

    def send(self, lines: Sequence[EventLine]) -> None:
        self.tried.release()
        if self._left:
            self._left -= 1
            raise self._error
        self.sent += lines
        self.took.release()

    def close(self) -> None:
        pass


def test_the_first_of_a_kind_is_written_at_once_and_the_rest_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    security_events.start(SecurityEventSettings(file=path))
    assert security_events.is_on()
    for _ in range(5):
        security_events.report(EVENT)
    security_events.stop()
    assert not security_events.is_on()
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert sum(event["count"] for event in written) == 5
    assert {event["metadata"]["event_code"] for event in written} == {"RIGHT_REFUSED"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_without_a_place_nothing_is_reported() -> None:
    security_events.start(SecurityEventSettings())
    assert not security_events.is_on()
    security_events.report(EVENT)


# The second is what a host's name with an empty label leads to.
@pytest.mark.parametrize("error", [OSError("no room"), UnicodeError("label empty")])
def test_what_a_sink_does_not_take_is_counted_on_and_written_later(error: Exception) -> None:
    sink = FailingSink(2, error)
    reporter = Reporter(sink, window=3600, retry=0.01)
    reporter.report(EVENT)
    assert sink.tried.acquire(timeout=60)
    reporter.report(EVENT)
    assert sink.took.acquire(timeout=60)
    reporter.stop()
    assert sum(json.loads(line.text)["count"] for line in sink.sent) == 2


def test_a_file_that_was_renamed_is_followed_by_another(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    sink = FileSink(path)
    line = EventLine(EventKind.RATE_LIMITED, 0.0, "{}")
    sink.send([line])
    path.rename(tmp_path / "events.jsonl.1")
    sink.send([line, line])
    assert path.read_text() == "{}\n{}\n"
    assert (tmp_path / "events.jsonl.1").read_text() == "{}\n"


def test_a_line_that_was_not_written_whole_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events.jsonl"
    sink = FileSink(path)
    line = EventLine(EventKind.RATE_LIMITED, 0.0, '{"number": 1}')
    write, room = os.write, [6]

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "no space left")
        return write(descriptor, data[: room.pop()])

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(OSError, match="no space"):
            sink.send([line])
    sink.send([line])
    sink.send([line])
    assert path.read_text().splitlines()[1:] == [line.text, line.text]


def test_a_file_that_cannot_be_written_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[security_events\] file"):
        security_events.start(SecurityEventSettings(file=tmp_path / "no" / "events.jsonl"))
    os.symlink(tmp_path / "elsewhere", tmp_path / "link")
    with pytest.raises(ConfigError, match=r"\[security_events\] file"):
        security_events.start(SecurityEventSettings(file=tmp_path / "link"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"file": Path("a"), "syslog": "localhost:6514"}, "either file or syslog"),
        ({"syslog": "localhost"}, "host:port"),
        ({"syslog": "localhost:99999"}, "host:port"),
        ({"authority": Path("a")}, "need syslog"),
        ({"syslog": "localhost:6514", "key": Path("a")}, "belong together"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SecurityEventSettings(**settings)
