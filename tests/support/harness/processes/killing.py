"""Ending a process at a chosen step of its work with a database, as SIGKILL does."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, event

from registry.storage.driver import DriverTransaction

_FORK = multiprocessing.get_context("fork")


class Steps:
    """Counts what a process does to its databases: each statement, before and after each commit.

    At step number `last` the process is killed by itself, with nothing cleaned up.
    """

    def __init__(self, last: int) -> None:
        self._left = last

    def arm(self) -> None:
        """Begin to count, in this process, for good."""
        event.listen(Engine, "before_cursor_execute", lambda *_: self._step())
        for name in ("one", "all", "run", "run_many", "run_text"):
            self._count(DriverTransaction, name)
        for kind in (Connection, DriverTransaction):
            self._count(kind, "commit", after=True)

    def _count(self, kind: type, name: str, *, after: bool = False) -> None:
        method = getattr(kind, name)

        def counted(*given: Any) -> Any:
            self._step()
            found = method(*given)
            if after:
                self._step()
            return found

        setattr(kind, name, counted)

    def _step(self) -> None:
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_at(step: int, work: Callable[[Steps], None]) -> bool:
    """Do `work` in a process of its own that ends at a step; say whether it came that far.

    `work` gets the steps, to arm them where it begins what is looked at.
    """
    process = _FORK.Process(target=work, args=(Steps(step),))
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode == -signal.SIGKILL
