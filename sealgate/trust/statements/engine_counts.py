"""A separate engine's signed statement of how many requests it ran.

Auditors hold it against the answer log: an answer that the engine counted and nobody recorded
left by another way than through the gateway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sealgate.trust import fields
from sealgate.trust.canonical import check_digest
from sealgate.trust.statements import base as form
from sealgate.trust.statements.base import Check, Statement

ENGINE = "engine"
"""The role of a principal whose key signs counts."""

INSTANCE_BYTES = 16


def _instance(value: Any) -> str:
    fields.unhex(value, INSTANCE_BYTES)
    return str(value)


def _counts(value: Any) -> None:
    for digest, requests, rows in value:
        check_digest(digest), form.positive(requests), form.positive(rows)
    form.sorted_digests([digest for digest, _, _ in value])


@dataclass(frozen=True, slots=True)
class EngineCounts(Statement):
    """Counts since the engine's process began, at `since`.

    `instance` is random, 16 bytes in hexadecimal digits, and new with each process; `sequence`
    grows with each statement of an instance. `counts` holds, for each version that was run, its
    digest, the requests and their rows, sorted.
    """

    TYPE: ClassVar[str] = "sealgate/engine-counts/v1"
    PAYLOAD_TYPE: ClassVar[str] = "application/vnd.sealgate.engine-counts.v1+json"
    AUTHOR: ClassVar[str] = "engine"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "engine": form.name,
        "instance": _instance,
        "sequence": form.positive,
        "since": form.time,
        "time": form.time,
        "counts": _counts,
    }

    engine: str
    instance: str
    sequence: int
    since: str
    time: str
    counts: tuple[tuple[str, int, int], ...]

    def to_json(self) -> dict[str, Any]:
        counts = {
            digest: {"requests": requests, "rows": rows} for digest, requests, rows in self.counts
        }
        return {**Statement.to_json(self), "counts": counts}

    @classmethod
    def _members(cls, record: dict[str, Any]) -> dict[str, Any]:
        counts = []
        for digest, value in sorted(fields.mapping(record["counts"]).items()):
            item = fields.record(value, ("requests", "rows"))
            counts.append((digest, item["requests"], item["rows"]))
        return {**record, "counts": tuple(counts)}

    def follows(self, before: "EngineCounts") -> bool:
        """Whether it may come after `before` of the same engine and instance: nothing shrinks."""
        later = {digest: (requests, rows) for digest, requests, rows in self.counts}
        return self.sequence > before.sequence and all(
            (found := later.get(digest)) is not None and found[0] >= requests and found[1] >= rows
            for digest, requests, rows in before.counts
        )
