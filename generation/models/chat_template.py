"""Writes chats by a model's own template, in a confined worker that is ended if it takes too long.

Jinja's sandbox keeps a template from our files, and bounds neither time nor memory: a few letters
loop for hours, or make a gigabyte of text. An approved model's template is a publisher's, so it is
run like other code of theirs, with no network, keys or files, and a worker that does not answer in
time is replaced.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from generation.models.closing import close_when_collected
from generation.models.template_worker import HEAD, REFUSED, TOO_LONG
from registry.sandbox import process
from registry.sandbox.confinement import SandboxLimits
from sealgate.reasons import Reason, SealgateError

SECONDS = 5.0
"""How long chats may take, and how long others wait for their turn; most take a millisecond."""
_START_SECONDS = 60.0
# Of memory, most is what Python and its libraries map.
_LIMITS = SandboxLimits(memory=512 << 20, scratch=1 << 20, seconds=10**9, threads=1)
_LOOK_SECONDS = 1.0
_TASK = "generation.models.template_worker:run"
_LONGEST = 1 << 20
_RETRY_SECONDS = 1.0
# A worker ends with the thread that started it, and those that answer calls may end before.
_STARTER = ThreadPoolExecutor(1, "template-start")


class ChatTemplate:
    """A template and its worker. Safe for many threads, which take turns."""

    def __init__(self, text: str, known: Mapping[str, str]) -> None:
        """`known` are the texts of tokens by the names that a template has for them."""
        self.text = text
        self._runner = _TemplateRunner(text, known)
        close_when_collected(self, self._runner.close)

    def write(self, chats: Sequence[Any], longest: int = _LONGEST) -> list[str]:
        """The texts of chats, lists of messages, in at most `longest` bytes each.

        Raises SealgateError: CHAT_MALFORMED for what the template refuses, PROMPT_TOO_LONG; where
        it takes too much time or memory, WORKER_LIMIT; QUEUE_FULL while others' chats are written;
        as `process.start` and `Worker.receive`.
        """
        return self._runner.write(chats, longest)

    def close(self) -> None:
        """End the worker; another chat starts another one."""
        self._runner.close()


class _TemplateRunner:
    """A template's worker and its state, apart from the template, which can be collected first."""

    def __init__(self, text: str, known: Mapping[str, str]) -> None:
        self._told = {"template": text, "known": dict(known)}
        self._turn = threading.Lock()
        self._held = ExitStack()
        self._worker: process.Worker | None = None
        self._chats = -1

    def write(self, chats: Sequence[Any], longest: int) -> list[str]:
        if not self._turn.acquire(timeout=SECONDS):
            raise SealgateError(
                Reason.QUEUE_FULL, "other chats are being written", retry=_RETRY_SECONDS
            )
        try:
            return self._written(chats, longest)
        except BaseException as error:
            if not isinstance(error, SealgateError) or error.reason not in _ANSWERED:
                self._end()
            raise
        finally:
            self._turn.release()

    def close(self) -> None:
        with self._turn:
            self._end()

    def _end(self) -> None:
        self._worker = None
        self._held.close()

    def _started(self) -> process.Worker:
        if self._worker is not None:
            return self._worker
        read, self._chats = os.pipe()
        self._held.callback(os.close, self._chats)
        try:
            request = json.dumps({**self._told, "descriptor": read}).encode()
            started = process.start(
                *(_TASK, request, _LIMITS), unsafe=True, descriptors=(read,), look=_LOOK_SECONDS
            )
            worker = _STARTER.submit(self._held.enter_context, started).result()
        finally:
            os.close(read)
        with _ended_after(worker, _START_SECONDS):
            worker.receive(0)
        self._worker = worker
        return worker

    def _written(self, chats: Sequence[Any], longest: int) -> list[str]:
        worker = self._started()
        asked = json.dumps([chats, longest]).encode()
        with _ended_after(worker, SECONDS):
            # A worker that has ended reports why when its answer is received.
            with suppress(BrokenPipeError):
                _send(self._chats, HEAD.pack(len(asked)) + asked)
            answers = [worker.receive(1 + max(longest, _LONGEST)) for _ in chats]
        if any(answer.startswith(TOO_LONG) for answer in answers):
            raise SealgateError(Reason.PROMPT_TOO_LONG, f"more than {longest} bytes")
        texts = [answer[1:].decode("utf-8", "replace") for answer in answers]
        for answer, text in zip(answers, texts, strict=True):
            if answer.startswith(REFUSED):
                raise SealgateError(Reason.CHAT_MALFORMED, text)
        return texts


_ANSWERED = (Reason.CHAT_MALFORMED, Reason.PROMPT_TOO_LONG)


@contextmanager
def _ended_after(worker: process.Worker, seconds: float) -> Iterator[None]:
    """End the worker unless the block ends in time."""
    timer = threading.Timer(seconds, worker.process.kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _send(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
