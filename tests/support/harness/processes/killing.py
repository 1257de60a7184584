"""Ending a process at a chosen step of its work with a database, as SIGKILL does."""

import multiprocessing
import os
import signal
from collections.abc import Callable

from sqlalchemy import Connection, Engine, event

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
        commit = Connection.commit

        def counted(connection: Connection) -> None:
            self._step()
            commit(connection)
            self._step()

        Connection.commit = counted  # type: ignore[method-assign]

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
