"""Closes what nobody closed, once it is collected.

A garbage collector may run within any lock, also those that starting and joining a thread take, so
another thread does the closing.
"""

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from queue import SimpleQueue

_LEFT: SimpleQueue[Callable[[], object]] = SimpleQueue()


def close_when_collected(owner: object, close: Callable[[], object]) -> None:
    """Have `close`, which must not refer to `owner`, called after that is collected."""
    _closer()
    weakref.finalize(owner, _LEFT.put, close)


@cache
def _closer() -> threading.Thread:
    """The thread that closes what is left behind, once it is needed."""
    thread = threading.Thread(target=_close_left, name="closer", daemon=True)
    thread.start()
    return thread


def _close_left() -> None:
    while True:
        close = _LEFT.get()
        with suppress(Exception):
            close()
