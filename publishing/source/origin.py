"""Training provenance: an in-toto statement (SLSA provenance v1), as training wrote it.

    {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
     "subject": [{"name", "digest": {"sha256"}}], "predicate": {"buildDefinition", "runDetails"}}

Its subjects are the unmarked files of the source folder. As evidence it is signed by the publisher,
which binds it to the marked version. The content of the predicate rests on the trainer's word.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.canonical import raw, sha256

STATEMENT = "https://in-toto.io/Statement/v1"
SLSA = "https://slsa.dev/provenance/v1"
# `sealgate train` as a builder and as a build type.
WORKSHOP = "urn:sealgate:train:v1"
_PRIVACY = ("epsilon", "delta", "noise", "clip", "sampling_rate", "steps", "accountant")
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """The statement; `subjects` are SHA-256 digests by file name."""

    statement: Mapping[str, Any]
    subjects: Mapping[str, str]

    @classmethod
    def decode(cls, data: bytes) -> "Origin":
        """Raises SealgateError(DOCUMENT_MALFORMED)."""
        if len(data) > _LARGEST:
            raise fields.malformed("a provenance is at most a mebibyte")
        top = fields.record(
            canonical.decode(data), ("_type", "predicateType", "subject", "predicate")
        )
        if (top["_type"], top["predicateType"]) != (STATEMENT, SLSA):
            raise fields.malformed("not a SLSA provenance")
        predicate = fields.record(top["predicate"], ("buildDefinition", "runDetails"))
        _definition(predicate)
        subjects = {}
        for item in fields.items(top["subject"]):
            subject = fields.record(item, ("name", "digest"))
            digests = fields.record(subject["digest"], ("sha256",))
            subjects[fields.text(subject["name"])] = _digest(digests["sha256"])
        found = cls(top, subjects)
        found.privacy()
        return found

    def check(self, files: Mapping[str, bytes]) -> None:
        """Raises SealgateError(EVIDENCE_MISMATCH) unless it names exactly these files."""
        if self.subjects != {name: sha256(data) for name, data in files.items()}:
            raise SealgateError(Reason.EVIDENCE_MISMATCH, "the provenance is of other files")

    def privacy(self) -> Mapping[str, Any] | None:
        """What differential privacy the workshop accounted for, if any."""
        definition = _definition(fields.mapping(self.statement["predicate"]))
        inner = definition.get("internalParameters", {})
        if definition.get("buildType") != WORKSHOP or "privacy" not in fields.mapping(inner):
            return None
        return fields.record(inner["privacy"], _PRIVACY)

    def facts(self) -> Iterator[tuple[str, str]]:
        """What a bill of materials says of it, by name: its digest, and the privacy budget."""
        yield "sealgate:provenance", sha256(canonical.encode(dict(self.statement)))
        for name, value in (self.privacy() or {}).items():
            yield f"sealgate:privacy:{name}", f"{value:.6g}" if type(value) is float else str(value)


def _definition(predicate: Mapping[str, Any]) -> dict[str, Any]:
    return fields.mapping(predicate["buildDefinition"])


def _digest(value: Any) -> str:
    text = f"sha256:{fields.text(value)}"
    raw(text)
    return text
