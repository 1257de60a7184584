"""Where the rows of callers' sessions are kept: the contract, and a store of one gateway's own."""

from collections.abc import Sequence
from typing import Protocol

START = ""
"""The cursor of who has read nothing."""
LONGEST_ROW = 1024
"""How many bytes a row has at most. A longer one was not written by a gateway."""


class Store(Protocol):
    """Where the rows of sessions are kept, so that several gateways see a session together.

    A store keeps what was appended to each session in one order. A gateway appends its rows and
    reads all rows that it has not read yet, its own included, in one round trip, so that all
    gateways come to the same findings. Rows are fingerprints under keyed names.
    """

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        """Append rows; return those after `cursor`, oldest first, and the cursor behind them. Where
        the place has lost what `cursor` stands for, return all that it holds.

        Raises SealgateError(SESSION_UNKNOWN) where the place does not answer.
        """
        ...

    def close(self) -> None: ...


class OwnStore:
    """Nobody else's rows: what is appended is what is read."""

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        return list(rows), cursor

    def close(self) -> None:
        pass
