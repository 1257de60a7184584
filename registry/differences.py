"""Where a database differs from what its log says."""

from dataclasses import dataclass
from enum import Enum


class Edit(Enum):
    """What somebody did to a row."""

    ALTERED = "altered"
    MISSING = "missing"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class Difference:
    """One column of one row, or a whole row where `column` is empty.

    `log` and `database` are what each says, in text; what is large by its SHA-256.
    """

    table: str
    key: str
    edit: Edit
    column: str = ""
    log: str = ""
    database: str = ""


def key_text(key: tuple[object, ...]) -> str:
    """A primary key for people."""
    return "/".join(map(str, key))
