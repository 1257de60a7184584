"""A finished request on a long stream leaves no callback behind."""

import threading

import pytest

from gateway.calls.call import CallCleanup
from gateway.transport.http.chat import read_chat
from inference.llm.messages import AnswerPart
from tests.support.fakes.generation import Stream, call_on, generate

CHAT = b'{"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}'


def test_a_thousand_requests_leave_one_callback() -> None:
    stream = Stream()
    call, saying = call_on(stream), generate([AnswerPart((), b"Hi.", "stop", (2, 1))])
    for _ in range(1000):
        assert len(list(saying.parts(read_chat(CHAT).request, call, False))) == 1
    assert (len(stream.callbacks), len(call.cleanup)) == (1, 0)


def test_a_finished_request_is_released() -> None:
    stream, one, other = Stream(), threading.Event(), threading.Event()
    cleanup = CallCleanup(stream)
    forget = cleanup.add(one.set)
    cleanup.add(other.set)
    forget()
    stream.end()
    assert (one.is_set(), other.is_set(), len(cleanup)) == (False, True, 0)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_request_after_the_end_is_ended_at_once(is_known: bool) -> None:
    stream, ended = Stream(), threading.Event()
    cleanup = CallCleanup(stream)
    if is_known:
        cleanup.add(lambda: None)
    stream.end()
    cleanup.add(ended.set)
    assert ended.is_set()
    assert len(cleanup) == 0
