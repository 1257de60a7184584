"""Language models that run elsewhere, as the gateway sees them, wherever that is.

The gateway reads a version's signed terms, so limits and the screening's threshold are its own to
hold.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from inference.admission import Cleared
from inference.generation import Asked, NoClassifier, Terms
from inference.limits import Counts
from inference.remote.calls import OnEnd
from inference.remote.prompts import Piece
from inference.statistics import Statistics
from sealgate.reasons import Reason, Refusal


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer that has begun: the prompt's tokens, what screening measured, and the pieces.

    Where tokens are not told there are none, and where nobody measures prompts no score.
    """

    prompt_ids: tuple[int, ...]
    score: float | None
    pieces: Iterator[Piece]


class Generator(NoClassifier, ABC):
    """A `Ready` version that generates elsewhere; `engine` says where."""

    def __init__(self, cleared: Cleared, terms: Terms, engine: str) -> None:
        self._model, self._number = cleared.pointer.model, cleared.pointer.version
        self._mutex = threading.Lock()
        self._closed = False
        self._requests = self._dropped = 0
        self.digest = cleared.pointer.digest
        self.engine = engine
        self.statistics = Statistics()
        self.terms = terms

    @property
    def arithmetic(self) -> str:
        """What it computes with; empty where that is not known here."""
        return ""

    def is_of(self, cleared: Cleared) -> bool:
        """Whether it is the version of that pointer."""
        return (self._model, self._number) == (cleared.pointer.model, cleared.pointer.version)

    def counts(self) -> Counts:
        """What was asked from here; a request is a row and a batch of its own."""
        with self._mutex:
            return Counts(self._requests, self._requests, self._requests, self._dropped, 0)

    def begin(
        self, asked: Asked, deadline: float, caller: str, on_end: OnEnd
    ) -> AbstractContextManager[Begun]:
        """Have an answer generated; leaving the block frees what it takes there.

        `on_end` is given what ends it from another thread, when nobody listens any more.
        Raises: DRAINING, ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, ANSWER_MALFORMED, and what a
        generator may say of a request; so do the pieces.
        """
        self.terms.check(asked.sampling)
        if self._closed:
            raise Refusal(Reason.DRAINING)
        return self._counted(self._begin(asked, deadline, caller, on_end))

    def close(self, timeout: float | None = None) -> bool:
        """Refuse new requests. Those on their way are the caller's to wait for."""
        self._closed = True
        return True

    @abstractmethod
    def _begin(
        self, asked: Asked, deadline: float, caller: str, on_end: OnEnd
    ) -> AbstractContextManager[Begun]: ...

    @contextmanager
    def _counted(self, answer: AbstractContextManager[Begun]) -> Iterator[Begun]:
        try:
            with answer as begun:
                yield begun
        except Refusal:
            with self._mutex:
                self._dropped += 1
            raise
        with self._mutex:
            self._requests += 1
