"""Reads rows of versions."""

from collections.abc import Sequence

from sqlalchemy import Column, Connection, RowMapping, Select, select

from registry.state.records import VersionRecord
from registry.state.schema import ATTACHMENTS, COMMITMENTS, DRIFTS, EVIDENCE, REVOCATIONS, VERSIONS
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Revocation
from sealgate.trust.statements.verification import revocation_names


def read_version(connection: Connection, model: str, version: int) -> VersionRecord:
    """Return one version. Raises SealgateError(VERSION_UNKNOWN)."""
    return version_record(connection, find_version(connection, model, version))


def find_version(connection: Connection, model: str, version: int) -> RowMapping:
    """Return a version's row. Raises SealgateError(VERSION_UNKNOWN)."""
    here = (VERSIONS.c.model == model, VERSIONS.c.version == version)
    row = connection.execute(select(VERSIONS).where(*here)).mappings().one_or_none()
    if row is None:
        raise SealgateError(Reason.VERSION_UNKNOWN, "no such version")
    return row


def check_version(connection: Connection, model: str, version: int, digest: str) -> RowMapping:
    """Return the row of a version that a document names, if it may still be used.

    Raises SealgateError: VERSION_UNKNOWN for another digest too; VERSION_REVOKED for bytes that
    were revoked under this model, or under whatever model.
    """
    row = find_version(connection, model, version)
    if row["digest"] != digest:
        raise SealgateError(Reason.VERSION_UNKNOWN, "the version has another digest")
    named = REVOCATIONS.c.version_digest.in_(revocation_names(model, digest))
    revoked = select(REVOCATIONS.c.version).where(named)
    if connection.scalar(revoked.limit(1)) is not None:
        raise SealgateError(Reason.VERSION_REVOKED, digest)
    return row


def evidence_of(connection: Connection, model: str, version: int) -> list[RowMapping]:
    """Return the rows of a version's evidence, in the order of registration."""
    here = (EVIDENCE.c.model == model, EVIDENCE.c.version == version)
    query = select(EVIDENCE).where(*here).order_by(EVIDENCE.c.position)
    return list(connection.execute(query).mappings())


def evidence_text(envelopes: Sequence[bytes]) -> str:
    """Return how a version's row refers to its evidence: digests of the envelopes, one a line."""
    return "\n".join(sha256(envelope) for envelope in envelopes)


def version_record(connection: Connection, row: RowMapping) -> VersionRecord:
    """Return what a version's row says, with what came to it later."""
    model, version = row["model"], row["version"]

    def later(column: Column) -> Select:
        table = column.table
        return select(column).where(table.c.model == model, table.c.version == version)

    revocation = connection.scalar(later(REVOCATIONS.c.envelope))
    reason = ""
    if revocation is not None:
        reason = Revocation.decode(Envelope.decode(bytes(revocation)).payload).reason
    withdrawn = later(DRIFTS.c.time)
    attached = later(ATTACHMENTS.c.envelope).order_by(ATTACHMENTS.c.entry)
    committed = select(COMMITMENTS.c.entry).where(COMMITMENTS.c.commitment == row["commitment"])
    return VersionRecord(
        model=model,
        version=version,
        digest=row["digest"],
        publisher=row["principal"],
        time=row["time"],
        manifest=bytes(row["manifest"]),
        signature=bytes(row["signature"]),
        evidence=tuple(bytes(item["envelope"]) for item in evidence_of(connection, model, version)),
        revocation_reason=reason,
        commitment=row["commitment"],
        watermark_entry=connection.scalars(committed).one(),
        entry=row["entry"],
        screening_withdrawn=connection.scalar(withdrawn) or "",
        attached=tuple(map(bytes, connection.scalars(attached))),
    )
