"""One exchange takes no longer than it may, however many addresses a name has."""

import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from sealgate.network.bounded_http import HttpExchange


def test_many_addresses_that_do_not_answer_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []
    addresses = [f"192.0.2.{number}" for number in range(100)]
    places = {(address, 80) for address in addresses}

    def unanswered(place: tuple[str, int], timeout: float) -> socket.socket:
        if place in places:
            tried.append(timeout)
            time.sleep(min(timeout, 0.05))
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", unanswered)
    parts = urlsplit("http://hooks.example.org/")
    exchange = HttpExchange(parts, None, "GET", "/", 100, 0.2, addresses=addresses)
    with pytest.raises(TimeoutError):
        exchange.run()
    assert len(tried) <= 5
    assert tried == sorted(tried, reverse=True)


def test_a_name_server_that_does_not_answer_ends_the_exchange(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released, answered = threading.Event(), []

    def silent(*_: object, **__: object) -> list[object]:
        released.wait(30)
        answered.append(None)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    exchange = HttpExchange(urlsplit("http://issuer.example.org/"), None, "GET", "/", 100, 0.1)
    with pytest.raises(TimeoutError):
        exchange.run()
    assert not answered
    released.set()
