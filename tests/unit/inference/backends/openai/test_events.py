"""Events of an OpenAI-compatible server: accepted ones, and ones refused or noticed."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from inference.backends.openai.client import OpenAiServer
from inference.backends.openai.generator import read_pieces
from inference.llm.messages import AnswerPart
from inference.llm.request import Sampling
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.blocking_worker import until

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def said(text: str | None, end: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": end}], **more}


def pieces(*events: Any, most: int = 4, stop: tuple[str, ...] = ()) -> list[AnswerPart]:
    return list(read_pieces(iter(events), Sampling(most, stop=stop), 100))


def refused(*events: Any, most: int = 4, stop: tuple[str, ...] = ()) -> Reason:
    with pytest.raises(SealgateError) as found:
        pieces(*events, most=most, stop=stop)
    return found.value.reason


@pytest.mark.parametrize(
    "events",
    [
        [said("a"), said("b", "stop"), {"choices": [], "usage": USAGE}],
        [said("a"), said("b"), said(None, "stop", usage=USAGE)],
        [said(None), said("a"), said("b"), said("", "stop"), {"choices": [], "usage": USAGE}],
    ],
)
def test_however_it_is_cut(events: list[Any]) -> None:
    found = pieces(*events)
    assert b"".join(piece.text for piece in found) == b"ab"
    assert (found[-1].finish, found[-1].usage) == ("stop", (5, 2))
    assert not any(piece.finish or piece.ids for piece in found[:-1])


@pytest.mark.parametrize(
    "events",
    [
        [said("a", "stop")],
        [said("a", "stop"), {"choices": [], "usage": {}}],
        [said("a", "stop"), {"choices": [], "usage": {**USAGE, "completion_tokens": 5}}],
        [said("a", "stop"), {"choices": [], "usage": {**USAGE, "prompt_tokens": -1}}],
        [said("a", "stop"), {"choices": [], "usage": {**USAGE, "prompt_tokens": True}}],
        [said("a", "stop"), said("b"), {"choices": [], "usage": USAGE}],
        [said("a", "tool_calls", usage=USAGE)],
        [said("a", "stop", usage=USAGE), said("b", "stop", usage=USAGE)],
        [said("\ud800", "stop", usage=USAGE)],
        [said(7, "stop", usage=USAGE)],  # type: ignore[arg-type]
        [{"choices": "x"}],
        [{}],
        [{"choices": [said("a")["choices"][0]] * 2}],
        [said("x" * 257, "stop", usage=USAGE)],
        [said("x")] * 40,
    ],
)
def test_what_is_malformed(events: list[Any]) -> None:
    assert refused(*events) is Reason.ANSWER_MALFORMED


def test_a_prompt_is_no_longer_than_its_terms_allow() -> None:
    for tokens, is_refused in ((100, False), (101, True)):
        events = said("a"), said("b", "stop", usage={**USAGE, "prompt_tokens": tokens})
        if is_refused:
            assert refused(*events) is Reason.PROMPT_TOO_LONG
        else:
            assert pieces(*events)[-1].usage == (100, 2)


def test_a_server_that_does_not_stop_where_it_should() -> None:
    events = said("one E"), said("N"), said("D", "stop", usage=USAGE)
    assert refused(*events, stop=("x", "END")) is Reason.ANSWER_MALFORMED
    assert len(pieces(*events, stop=("x", "END "))) == 3


def test_an_end_that_does_not_come() -> None:
    assert refused(said("a")) is Reason.ENGINE_UNAVAILABLE
    assert refused() is Reason.ENGINE_UNAVAILABLE


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[OpenAiServer]:
    """A server whose every answer is this."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer(self)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        base = urlsplit(f"http://127.0.0.1:{server.server_port}/v1")
        yield OpenAiServer(base, "secret", None)
    finally:
        server.shutdown()
        server.server_close()


def stream(text: str, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.wfile.write(text.encode())

    return answer


def asked(server: OpenAiServer, seconds: float = 20.0) -> list[Any]:
    return list(server.chat({"model": "x"}, time.monotonic() + seconds, lambda end: None))


def test_events_until_they_are_done() -> None:
    text = ': comment\n\nevent: x\ndata: {"a": 1}\n\ndata:{"a":2}\r\n\r\ndata: [DONE]\n\ndata: no'
    with serving(stream(text)) as server:
        assert asked(server) == [{"a": 1}, {"a": 2}]


def test_its_key_is_sent_to_its_path() -> None:
    seen: list[Any] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.path, handler.headers["authorization"]))
        stream("data: [DONE]\n\n")(handler)

    with serving(answer) as server:
        assert asked(server) == []
    assert seen == [("/v1/chat/completions", "Bearer secret")]


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("", 400, Reason.ENGINE_UNAVAILABLE),
        ("", 302, Reason.ENGINE_UNAVAILABLE),
        ("", 429, Reason.QUEUE_FULL),
        ("", 503, Reason.QUEUE_FULL),
        ("data: {\n\n", 200, Reason.ENGINE_UNAVAILABLE),
        ("data: []\n\n", 200, Reason.ENGINE_UNAVAILABLE),
        ('data: {"error": {"message": "x"}}\n\n', 200, Reason.ENGINE_UNAVAILABLE),
        (f'data: "{"x" * (1 << 20)}"\n\n', 200, Reason.ENGINE_UNAVAILABLE),
    ],
)
def test_what_ends_a_chat(text: str, status: int, reason: Reason) -> None:
    with serving(stream(text, status)) as server, pytest.raises(SealgateError) as found:
        asked(server)
    assert found.value.reason is reason


@pytest.mark.parametrize("line", ["\n", ": comment\n", "event: x\n"])
def test_lines_that_say_nothing_are_not_read_for_ever(line: str) -> None:
    def flood(handler: BaseHTTPRequestHandler) -> None:
        stream("")(handler)
        with suppress(OSError):
            while True:
                handler.wfile.write(line.encode() * 1000)

    with serving(flood) as server, pytest.raises(SealgateError) as found:
        asked(server, 60)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE


def test_nobody_there() -> None:
    server = OpenAiServer(urlsplit("http://127.0.0.1:9/v1"), "", None)
    with pytest.raises(SealgateError) as found:
        asked(server)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE


def test_a_server_that_says_nothing_is_waited_for_until_the_deadline() -> None:
    over = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        over.wait(60)

    with serving(hang) as server:
        began = time.monotonic()
        with pytest.raises(SealgateError) as found:
            asked(server, 0.3)
        assert found.value.reason is Reason.DEADLINE_TOO_SHORT
        assert time.monotonic() - began < 30
        # Or until somebody ends it.
        ends: list[Callable[[], Any]] = []

        def end() -> None:
            until(lambda: bool(ends))
            ends[0]()

        threading.Thread(target=end).start()
        with pytest.raises(SealgateError) as found:
            list(server.chat({}, time.monotonic() + 60, ends.append))
        assert found.value.reason is Reason.DEADLINE_TOO_SHORT
        assert time.monotonic() - began < 50
        over.set()


@pytest.mark.parametrize("number", [101, 1 << 63, 10**30])
def test_a_token_count_beyond_the_limit_is_refused(number: int) -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": number, "completion_tokens": 1}
    with pytest.raises(SealgateError) as found:
        list(read_pieces(iter([{"choices": [choice], "usage": usage}]), Sampling(4), 100))
    assert found.value.reason is Reason.PROMPT_TOO_LONG
