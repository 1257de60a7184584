"""What an engine's process has run since it began, by version, and its signature under that."""

import threading
from collections.abc import Callable
from datetime import datetime

from sealgate.trust.dsse import Envelope
from sealgate.trust.engine_counts import EngineCounts
from sealgate.trust.keys import Signer
from sealgate.trust.promotion import sign_statement
from sealgate.trust.times import format_time


class Tally:
    """Counts requests and rows. Safe for many threads."""

    def __init__(
        self, engine: str, instance: str, signer: Signer, clock: Callable[[], datetime]
    ) -> None:
        """`instance` is new and random with each process, 32 hexadecimal digits."""
        self._engine = engine
        self._instance = instance
        self._signer = signer
        self._clock = clock
        self._since = format_time(clock())
        self._sequence = 0
        self._counts: dict[str, tuple[int, int]] = {}
        self._mutex = threading.Lock()

    def ran(self, digest: str, rows: int) -> None:
        """A request of so many rows was run by the version of that digest."""
        with self._mutex:
            requests, before = self._counts.get(digest, (0, 0))
            self._counts[digest] = requests + 1, before + rows

    def statement(self) -> Envelope:
        """The counts at this moment, signed."""
        with self._mutex:
            self._sequence += 1
            sequence, counts = self._sequence, sorted(self._counts.items())
        statement = EngineCounts(
            engine=self._engine,
            instance=self._instance,
            sequence=sequence,
            since=self._since,
            time=format_time(self._clock()),
            counts=tuple((digest, *numbers) for digest, numbers in counts),
        )
        return sign_statement(statement, self._signer)
