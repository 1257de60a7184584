"""Compares the registry's tables with its log, row by row and byte by byte.

Each row of state must be the one that its entry was made from, and each entry of the log must
have its row. Whoever edits, adds or deletes rows without the log's key is found out; so is a
crash that had torn them apart.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, select

from registry.log.rows import inconsistent
from registry.log.verification import Progress, VerifiedLog, verify_log
from registry.models.version_rows import evidence_of, evidence_text
from registry.state.events import EVENTS, VERSION_REGISTERED, Event
from registry.state.schema import EVIDENCE, LOG
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence


def reconcile(connection: Connection, vkey: str, progress: Progress | None = None) -> VerifiedLog:
    """Compare all rows of state with all entries of the log.

    1. Each version's evidence is what its row refers to, and there is no other.
    2. No entry has two rows.
    3. The log verifies as a whole (see `verify_log`), and each of its entries is the one that
       its row leads to.
    4. No row lacks an entry.

    Raises Refusal(LOG_INCONSISTENT).
    """
    # 1.
    _check_evidence(connection)
    # 2.
    expected: dict[int, str] = {}
    for event in EVENTS:
        for row in _rows(connection, event):
            if row["entry"] in expected:
                raise inconsistent(f"entry {row['entry']} has two rows")
            expected[row["entry"]] = sha256(event.entry(row))

    # 3.
    def compare(index: int, leaf: bytes) -> None:
        if expected.pop(index, "") != sha256(leaf):
            raise inconsistent(f"entry {index} is not what the tables say")

    verified = verify_log(connection, LOG, vkey, progress=progress, visit=compare)
    # 4.
    if expected:
        raise inconsistent(f"{len(expected)} rows have no entry")
    return verified


def _rows(connection: Connection, event: Event) -> Iterator[dict[str, Any]]:
    for row in connection.execute(select(event.table)).mappings():
        yield dict(row)


def _tell(envelope: bytes) -> tuple[str, str, str]:
    opened = Envelope.decode(envelope)
    statement = Evidence.decode(opened.payload)
    return statement.kind, opened.payload_digest, statement.maker


def _check_evidence(connection: Connection) -> None:
    places = select(EVIDENCE.c.model, EVIDENCE.c.version).distinct()
    versions = {(row.model, row.version) for row in connection.execute(places)}
    for row in _rows(connection, VERSION_REGISTERED):
        versions.discard((row["model"], row["version"]))
        items = evidence_of(connection, row["model"], row["version"])
        envelopes = [bytes(item["envelope"]) for item in items]
        told = [(item["kind"], item["digest"], item["maker"]) for item in items]
        if evidence_text(envelopes) != row["evidence"] or told != list(map(_tell, envelopes)):
            raise inconsistent(f"other evidence of {row['model']}/{row['version']}")
    if versions:
        raise inconsistent("evidence without its version")
