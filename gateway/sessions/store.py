"""Where the rows of sessions are kept, so that gateways see them together.

A place keeps, for each session, what was appended in one order; a gateway appends what came to it
and reads what it has not read yet, its own included, in one round trip. All of them so come to the
same findings. What is kept are fingerprints, under keyed names.
"""

from collections.abc import Sequence
from typing import Protocol

START = ""
"""The cursor of who has read nothing."""
LONGEST_ROW = 1024
"""How many bytes a row has at most. A longer one was not written by a gateway."""


class Store(Protocol):
    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        """Append rows; return those after `cursor`, oldest first, and the cursor behind them. Where
        the place has lost what `cursor` stands for, return all that it holds.

        Raises Refusal(SESSION_UNKNOWN) where the place does not answer.
        """
        ...

    def close(self) -> None: ...


class OwnStore:
    """Nobody else's rows: what is appended is what is read."""

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        return list(rows), cursor

    def close(self) -> None:
        pass
