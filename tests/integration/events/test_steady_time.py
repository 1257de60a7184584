"""The events process goes by the steady clock: a jump of the system's time changes no delivery."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealgate import steady_clock
from sealgate.events.cloud_events import CloudEvent
from sealgate.events.config import EventsConfig
from sealgate.events.delivery import DELIVERED, FAILED
from sealgate.events.process import EventsProcess
from sealgate.steady_clock import SteadyClock
from tests.support.harness.deployment import until
from tests.support.harness.servers.webhooks import Received, WebhookReceiver

JUMP = timedelta(days=4)


class Wall:
    """The machine's clock, which is `off` by so much."""

    def __init__(self) -> None:
        self.off = timedelta()
        self._true = time.time

    def seconds(self) -> float:
        return self._true() + self.off.total_seconds()

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.seconds(), UTC)


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    found = Wall()
    monkeypatch.setattr(time, "time", found.seconds)
    monkeypatch.setattr(steady_clock, "now", SteadyClock(found))
    return found


@pytest.fixture
def process(
    wall: Wall, receiver: WebhookReceiver, secret: str, tmp_path: Path
) -> Iterator[EventsProcess]:
    """It knows no gateway; what it delivers is added by the test."""
    path = tmp_path / "events.toml"
    path.write_text(f"""
[gateway]
profile = "nobody.toml"
[state]
database = "events.sqlite"
[network]
hosts = ["127.0.0.1"]
[delivery]
first_pause = 0.05
[[destinations]]
name = "hook"
url = "{receiver.url}"
secrets = ["hook.key"]
loopback = true
""")
    found = EventsProcess(EventsConfig.read(path))
    found.start()
    yield found
    found.stop()


def test_nothing_is_given_up_after_a_jump(
    process: EventsProcess,
    wall: Wall,
    receiver: WebhookReceiver,
    event: Callable[[int], CloudEvent],
) -> None:
    true, answers = time.time(), iter([500, 500, 204])

    def answer(_: Received) -> int:
        wall.off = JUMP
        return next(answers)

    receiver.answer = answer
    process.store.add([(event(1), ["hook"])])
    process.deliveries.wake(["hook"], "digits")
    until(lambda: process.store.counts() == {})
    assert process.deliveries.results() == {("hook", FAILED): 2, ("hook", DELIVERED): 1}
    # Receivers refuse what is signed for another time.
    for came in receiver.received:
        assert abs(int(came.headers["webhook-timestamp"]) - true) < 3600
