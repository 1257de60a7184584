"""The tables of docs/reference/metrics.md: `python -m tests.support.oracles.metrics` writes
them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gateway.observability.engine import ENGINE_FAMILIES
from gateway.observability.families import FAMILIES, Family

DOCUMENT = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
ALL_FAMILIES = (*FAMILIES, *ENGINE_FAMILIES)
"""A gateway's, then an engine's."""
_TABLE = re.compile(r"(?<=\n\n)(TABLE|\| metric \|.*?\|)(?=\n\n)", re.DOTALL)


def tables() -> list[str]:
    """A row for each family, in the order in which they are shown."""
    return [_table(FAMILIES), _table(ENGINE_FAMILIES)]


def documented() -> list[str]:
    """The tables that stand there."""
    return _TABLE.findall(DOCUMENT.read_text())


def _table(families: Sequence[Family]) -> str:
    rows = [
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)}"
        f" | {family.meaning} |"
        for family in families
    ]
    return "\n".join(["| metric | kind | labels | what it says |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    made = iter(tables())
    DOCUMENT.write_text(_TABLE.sub(lambda _: next(made), DOCUMENT.read_text()))
