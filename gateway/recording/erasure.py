"""Erasing a subject from an answer log while answers go on.

An erasure is a point in time: entries before it are closed, those after it have a new key. So
while the registry's log is told and the key destroyed, new records about the subject wait, and the
erasure waits for those that are being written.
"""

import bisect
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from registry.answers import AnswerLog, SubjectKeys
from registry.audit import PlannedErasure
from sealgate.reasons import Reason, SealgateError

_PATIENCE_SECONDS = 5.0


class ErasureBarrier:
    """Keeps the records of a subject apart from its erasure; other subjects are not held up."""

    def __init__(self, patience: float = _PATIENCE_SECONDS) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._recording: Counter[str] = Counter()
        self._erasing: set[str] = set()

    @contextmanager
    def recording(self, subject: str) -> Iterator[None]:
        """One record is made. Raises SealgateError(RECORD_FAILED) where an erasure takes too
        long.
        """
        with self._changed:
            self._wait(lambda: subject not in self._erasing)
            self._recording[subject] += 1
        try:
            yield
        finally:
            self._end((subject,))

    @contextmanager
    def recording_others(self, subjects: Iterable[str]) -> Iterator[frozenset[str]]:
        """Records about several subjects are made; yields those that must wait for an erasure.

        It does not wait itself, and the records of these subjects are not made meanwhile.
        """
        with self._changed:
            wanted = frozenset(subjects)
            barred = wanted & self._erasing
            free = wanted - barred
            self._recording.update(free)
        try:
            yield barred
        finally:
            self._end(free)

    def is_erasing(self, subject: str) -> bool:
        """Whether a record about the subject would wait now."""
        # A set is looked into at once.
        return subject in self._erasing

    @contextmanager
    def erasing(self, subject: str) -> Iterator[None]:
        """No record about the subject is in progress. Raises SealgateError(RECORD_FAILED) where one
        takes too long.
        """
        with self._changed:
            self._wait(lambda: subject not in self._erasing)
            self._erasing.add(subject)
        try:
            with self._changed:
                self._wait(lambda: subject not in self._recording)
            yield
        finally:
            with self._changed:
                self._erasing.discard(subject)
                self._changed.notify_all()

    def _end(self, subjects: Iterable[str]) -> None:
        with self._changed:
            for subject in subjects:
                self._recording[subject] -= 1
                if not self._recording[subject]:
                    del self._recording[subject]
            if self._erasing:
                self._changed.notify_all()

    def _wait(self, until: Callable[[], bool]) -> None:
        if not self._changed.wait_for(until, self._patience):
            raise SealgateError(Reason.RECORD_FAILED, "an erasure and a record of its subject wait")


class Erasure:
    """One erasure of a subject. Only one at a time may be made from a log."""

    def __init__(
        self, log: AnswerLog, subjects: SubjectKeys, barrier: ErasureBarrier, subject: str
    ) -> None:
        self._log = log
        self._subjects = subjects
        self._barrier = barrier
        self._subject = subject
        self._size = log.size
        # Of a long log this takes a while, so before anybody has to wait.
        self._indices = log.openings.about(subject, 0, self._size)

    def closing(self, start: int = 0) -> PlannedErasure:
        """The erasure as it is planned, of the entries from `start` on."""
        entries = len(self._indices) - bisect.bisect_left(self._indices, start)
        return PlannedErasure(entries, self._size, self._subjects.digest(self._subject))

    def run(self, tell: Callable[["Erasure"], None]) -> int:
        """Erase the subject; return how many openings were removed.

        1. New records about the subject wait, and those in progress are finished.
        2. `tell` has the registry's log tell of the erasure (see `closing`).
        3. The subject's key is destroyed; records about it go on, with another key.
        4. The openings are removed.
        5. Removed rows are purged from the databases' files.

        Raises SealgateError: RECORD_FAILED, REGISTRY_UNAVAILABLE, ERASURE_UNFINISHED, and as `tell`
        does; it is to be done again then. LOG_INCONSISTENT: a trigger in a database undoes it.
        """
        # 1.
        with self._barrier.erasing(self._subject):
            size = self._log.size
            self._indices += self._log.openings.about(self._subject, self._size, size)
            self._size = size
            # 2.
            tell(self)
            # 3.
            self._subjects.destroy(self._subject)
        # 4.
        removed = self._log.openings.erase(self._subject, size)
        if self._log.openings.about(self._subject, 0, size):
            raise SealgateError(Reason.LOG_INCONSISTENT, "a trigger kept openings that were erased")
        # 5.
        self._subjects.purge()
        self._log.openings.purge()
        return removed
