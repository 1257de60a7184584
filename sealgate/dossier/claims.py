"""Lines of a dossier: what is claimed, and the entries that prove it."""

from dataclasses import dataclass
from typing import Any, Self

from sealgate.trust import fields

NOT_COVERED = "Not covered by Sealgate"


@dataclass(frozen=True, slots=True)
class Citation:
    """Entry `entry` of the registry's log, and the document of that digest which the entry names;
    empty where the entry itself says it.
    """

    entry: int
    document: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"entry": self.entry, "document": self.document}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("entry", "document"))
        return cls(fields.integer(outer["entry"]), fields.text(outer["document"]))


@dataclass(frozen=True, slots=True)
class DossierClaim:
    """One line. Without citations it says what Sealgate does not cover."""

    text: str
    citations: tuple[Citation, ...] = ()

    @property
    def is_covered(self) -> bool:
        return bool(self.citations)

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "citations": [each.to_json() for each in self.citations]}

    @classmethod
    def from_json(cls, value: object) -> Self:
        outer = fields.record(value, ("text", "citations"))
        cited = tuple(map(Citation.from_json, fields.items(outer["citations"])))
        return cls(fields.text(outer["text"]), cited)


def not_covered(what: str) -> DossierClaim:
    """The line that says so."""
    return DossierClaim(f"{NOT_COVERED}: {what}")
