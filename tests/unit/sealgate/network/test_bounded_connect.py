"""A connection is made or given up in time, whatever name server and addresses do."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from sealgate.network.bounded_connect import connect, look_up


class SilentResolver:
    """Answers nothing until it is released."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()

    def __call__(self, host: str, port: int | None, **_: object) -> list[object]:
        self.asked.append(host)
        self.released.wait()
        return []


@pytest.fixture
def silent() -> Iterator[SilentResolver]:
    made = SilentResolver()
    yield made
    made.released.set()
    for thread in threading.enumerate():
        if thread.name == "dns":
            thread.join()


def soon() -> float:
    return time.monotonic() + 0.01


def test_one_look_up_of_a_name_is_under_way_at_most(silent: SilentResolver) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            look_up("a.example.org", 443, soon(), silent)
    assert silent.asked == ["a.example.org"]


def test_look_ups_that_never_end_are_bounded(silent: SilentResolver) -> None:
    for number in range(32):
        with pytest.raises(TimeoutError):
            look_up(f"{number}.example.org", 443, soon(), silent)
    with pytest.raises(OSError, match="too many"):
        look_up("one-more.example.org", 443, soon(), silent)
    assert len(silent.asked) == 32


def test_a_name_is_looked_up_anew_once_its_look_up_has_ended() -> None:
    asked = []

    def failing(host: str, port: int | None, **_: object) -> list[object]:
        asked.append(host)
        raise socket.gaierror("no such name")

    for _ in range(2):
        with pytest.raises(socket.gaierror):
            look_up("a.example.org", 443, time.monotonic() + 60, failing)
        for thread in threading.enumerate():
            if thread.name == "dns":
                thread.join()
    assert len(asked) == 2


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, waits = socket.create_connection, []

    def create(place: tuple[str, int], timeout: float) -> socket.socket:
        waits.append(timeout)
        if place[0] == "192.0.2.1":
            raise TimeoutError
        return real(place, timeout)

    monkeypatch.setattr(socket, "create_connection", create)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port, end = server.getsockname()[1], time.monotonic() + 60
        connect("a.example.org", port, end, ["192.0.2.1", "127.0.0.1"]).close()
    assert waits[0] <= 30 < waits[1]
