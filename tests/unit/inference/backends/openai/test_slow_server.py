"""An OpenAI server that sends bytes slowly is waited for until the deadline only."""

import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from inference.backends.openai.client import OpenAiServer
from sealgate.reasons import Reason, SealgateError

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"


@pytest.mark.parametrize("first", [HEAD, b"HTTP/1.1 200 OK\r\nx: "])
def test_a_slow_server_is_waited_for_until_the_deadline(first: bytes) -> None:
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(first)
            try:
                while not over.wait(0.05):
                    connection.sendall(b":")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        # So that the test ends where the chat does not.
        timer = threading.Timer(60, over.set)
        timer.start()
        server = OpenAiServer(
            urlsplit(f"http://127.0.0.1:{listener.getsockname()[1]}/v1"), "", None
        )
        began = time.monotonic()
        with pytest.raises(SealgateError) as found:
            list(server.chat({}, began + 2.0, lambda _: None))
        took = time.monotonic() - began
        over.set()
        timer.cancel()
        thread.join()
    assert found.value.reason is Reason.DEADLINE_TOO_SHORT
    assert took < 50


def test_a_name_server_that_does_not_answer_is_waited_for_until_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over, answered = threading.Event(), []

    def silent(*_: object, **__: object) -> list[object]:
        over.wait(60)
        answered.append(None)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    server = OpenAiServer(urlsplit("http://models.example.org/v1"), "", None)
    with pytest.raises(SealgateError) as found:
        list(server.chat({}, time.monotonic() + 0.1, lambda _: None))
    assert found.value.reason is Reason.DEADLINE_TOO_SHORT
    assert not answered
    over.set()
