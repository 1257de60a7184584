"""The table of metrics as docs/metrics.md has it: `python -m tests.support.metrics` writes it."""

import re
from pathlib import Path

from gateway.metrics.families import FAMILIES

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
_TABLE = re.compile(r"(?<=\n\n)(TABLE|\| metric \|.*?\|)(?=\n\n)", re.DOTALL)


def table() -> str:
    """A row for each family, in the order in which they are shown."""
    rows = [
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)}"
        f" | {family.meaning} |"
        for family in FAMILIES
    ]
    return "\n".join(["| metric | kind | labels | what it says |", "|---|---|---|---|", *rows])


def documented() -> str:
    """The table that stands there."""
    (found,) = _TABLE.findall(DOCUMENT.read_text())
    return str(found)


if __name__ == "__main__":
    DOCUMENT.write_text(_TABLE.sub(lambda _: table(), DOCUMENT.read_text()))
