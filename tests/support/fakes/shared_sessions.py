"""A place in memory that several watchers of sessions share."""

import threading
from collections.abc import Sequence


class SharedStore:
    """Keeps everything; see `gateway.sessions.session_screen.Store`."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._rows: dict[str, list[bytes]] = {}

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        with self._mutex:
            kept = self._rows.setdefault(session, [])
            kept += rows
            return kept[int(cursor or 0) :], str(len(kept))

    def close(self) -> None:
        pass
