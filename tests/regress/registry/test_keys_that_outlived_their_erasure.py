"""A subject's key that was being read as it was destroyed stayed in the gateway's memory.

Every later entry about the subject was then made with a key that was nowhere else, so nobody could
ever open one of them; and the erased key lived on until the next start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from registry.subjects import SubjectKeys


class Interrupted:
    """A database after whose next write transaction somebody else does something."""

    def __init__(self, database, then) -> None:
        self._database = database
        self._then = then

    def __getattr__(self, name: str):
        return getattr(self._database, name)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        then, self._then = self._then, None
        with self._database.writing() as connection:
            yield connection
        if then is not None:
            then()


def test_a_key_read_while_it_is_destroyed_is_forgotten(tmp_path: Path) -> None:
    keys = SubjectKeys.open(tmp_path / "subjects.db")
    keys.key("patient")
    keys._cached.cache_clear()
    keys._database = Interrupted(keys._database, lambda: keys.destroy("patient"))
    erased = keys.key("patient")
    later = keys.key("patient")
    assert later != erased
    assert keys.known_key("patient") == later
    keys.close()
