"""Signals that another process may have committed to a database.

`Changes` says when; what is new there the caller finds out from a token or from the tables. So a
notice too many costs one look, and a notice lost costs time, never truth.

On Linux the kernel tells of commits to a SQLite file (inotify(7)): a commit writes to the
write-ahead log, and a checkpoint to the file itself. Both are watched, so a thread sleeps until one
is written, by any process. A commit shows only once its bytes are on the disk, of which the kernel
tells nobody: for a while after each write, there is reason to look every POLL_SECONDS. The kernel
tells of writes by this machine alone, and so does SQLite: its write-ahead log does not work over a
network.
"""

import ctypes
import os
import select
import threading
import time
from pathlib import Path
from typing import Protocol

POLL_SECONDS = 0.01


class Changes(Protocol):
    """A signal to one thread; `wait` and `close` are never called at once."""

    def wait(self, seconds: float) -> bool:
        """Wait until there is reason to look, at most about `seconds`; say whether there
        is.
        """
        ...

    def wake(self) -> None:
        """End a wait soon, from any thread."""
        ...

    def close(self) -> None:
        """Release what waiting holds."""
        ...


class PollingChanges:
    """Polls every 10 ms, for databases in which looking is cheap."""

    def wait(self, seconds: float) -> bool:
        time.sleep(min(seconds, POLL_SECONDS))
        return True

    def wake(self) -> None:
        """Does nothing: no wait is long."""

    def close(self) -> None:
        """Does nothing."""


_MODIFY, _ATTRIB, _MOVED_TO, _CREATE = 0x2, 0x4, 0x80, 0x100
_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_LARGEST_READ = 1 << 16
# A commit that takes longer shows when whoever waits looks again by themselves.
_BUSY_SECONDS = 0.25


def changes_of(database: Path) -> Changes:
    """A signal of commits to the file; by polling where the system tells nobody of writes."""
    try:
        return FileChanges(database)
    except (OSError, AttributeError):
        return PollingChanges()


class FileChanges:
    """Waits for writes to a database's files. Raises OSError where they cannot be watched."""

    def __init__(self, database: Path) -> None:
        self._files = database, Path(f"{database}-wal")
        # A waiting thread may close this while another wakes it: the number is then another file's.
        self._closing, self._closed = threading.Lock(), False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = self._libc.inotify_init1(_NONBLOCK | _CLOEXEC)
        if self._inotify < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        for file in (self._inotify, self._woken):
            self._poll.register(file, select.POLLIN)
        self._busy_until = 0.0
        try:
            # The write-ahead log may come and go.
            self._add(database.parent, _CREATE | _MOVED_TO)
            self._watched = self._watch()
        except OSError:
            self.close()
            raise

    def wait(self, seconds: float) -> bool:
        """Also true at the end of `seconds`: a look costs little, and a notice may be lost."""
        try:
            watched = self._watch()
        except OSError:
            # A file went as it was looked for, or the kernel watches no more files.
            time.sleep(min(seconds, POLL_SECONDS))
            return True
        if watched != self._watched:
            # A file was put in another's place.
            self._watched = watched
            self._busy_until = time.monotonic() + _BUSY_SECONDS
        elif time.monotonic() < self._busy_until:
            time.sleep(min(seconds, POLL_SECONDS))
            self._note(0.0)
        else:
            self._note(seconds)
        return True

    def wake(self) -> None:
        """End a wait now, if it has not ended."""
        with self._closing:
            if not self._closed:
                os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        with self._closing:
            if not self._closed:
                self._closed = True
                os.close(self._inotify)
                os.close(self._woken)

    def _note(self, seconds: float) -> None:
        """Wait for a write, or for being woken."""
        ready = {file for file, _ in self._poll.poll(max(0.0, seconds) * 1000)}
        if self._inotify in ready:
            self._drain()
            self._busy_until = time.monotonic() + _BUSY_SECONDS

    def _watch(self) -> tuple[int, ...]:
        """Watch the files that are there; the same numbers as long as these are the same."""
        # Names may also be removed (ATTRIB): the file is another then.
        files = [path for path in self._files if path.exists()]
        return tuple(self._add(path, _MODIFY | _ATTRIB) for path in files)

    def _add(self, path: Path, events: int) -> int:
        added: int = self._libc.inotify_add_watch(self._inotify, os.fsencode(path), events)
        if added < 0:
            raise OSError(ctypes.get_errno(), f"inotify_add_watch {path}")
        return added

    def _drain(self) -> None:
        try:
            while os.read(self._inotify, _LARGEST_READ):
                pass
        except BlockingIOError:
            return
