"""Models, commitments to watermark keys that precede versions, and the rows of versions."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    RowMapping,
    ScalarSelect,
    Select,
    Table,
    func,
    select,
)

from registry.listing import FIRST_PAGE, ListQuery, Page, fitting, number, read_page, text, time
from registry.policy import PolicyBook
from registry.state.events import MODEL_CREATED, WATERMARK_COMMITTED
from registry.state.records import ModelRecord, VersionRecord
from registry.state.schema import (
    ATTACHMENTS,
    COMMITMENTS,
    DRIFTS,
    EVIDENCE,
    MODELS,
    REVOCATIONS,
    VERSIONS,
)
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import check_digest, sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.statements import Revocation
from sealgate.trust.statements.covering import revocation_names


class Models:
    """The use cases around models."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def create(self, principal: str, model: str, once: RequestKey | None = None) -> ModelRecord:
        """Create a model. Raises SealgateError: NAME_MALFORMED, MODEL_EXISTS."""
        check_name(model)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            self._book.read_for(unit).current(unit.now)
            known = select(MODELS.c.model).where(MODELS.c.model == model)
            if unit.connection.scalar(known) is not None:
                raise SealgateError(Reason.MODEL_EXISTS, model)
            unit.add(MODEL_CREATED, model=model)
            unit.commit()
        return self.get(model)

    def get(self, model: str) -> ModelRecord:
        """Return one model. Raises SealgateError(MODEL_UNKNOWN)."""
        with self._ledger.view() as connection:
            row = connection.execute(_models().where(MODELS.c.model == model)).mappings().first()
        if row is None:
            raise SealgateError(Reason.MODEL_UNKNOWN, "no such model")
        return _record(row)

    def list(self, asked: ListQuery = FIRST_PAGE) -> Page[ModelRecord]:
        """Return a page of models, oldest first. Raises SealgateError as `read_page`."""
        with self._ledger.view() as connection:
            page = read_page(connection, _models(), MODELS.c.entry, asked, ["models"], _FIELDS)
        return page.map(_record)

    def commit_watermark(
        self, principal: str, model: str, commitment: str, once: RequestKey | None = None
    ) -> int:
        """Log a digest that binds a watermark key to a model; return the entry's index.

        The same commitment by the same principal for the same model is the same entry. Raises
        SealgateError: DOCUMENT_MALFORMED, MODEL_UNKNOWN, COMMITMENT_EXISTS.
        """
        check_digest(commitment)
        known = select(COMMITMENTS).where(COMMITMENTS.c.commitment == commitment)
        with suppress(RepeatedRequest), self._ledger.change(principal, once) as unit:
            self._book.read_for(unit).current(unit.now)
            check_model(unit.connection, model)
            row = unit.connection.execute(known).one_or_none()
            if row is None:
                unit.add(WATERMARK_COMMITTED, commitment=commitment, model=model)
                unit.commit()
            elif (row.model, row.principal) != (model, principal):
                raise SealgateError(Reason.COMMITMENT_EXISTS, commitment)
        with self._ledger.view() as connection:
            return int(connection.execute(known).one().entry)


def check_model(connection: Connection, model: str) -> None:
    """Raises SealgateError(MODEL_UNKNOWN) unless there is such a model."""
    if connection.scalar(select(MODELS.c.model).where(MODELS.c.model == model)) is None:
        raise SealgateError(Reason.MODEL_UNKNOWN, "no such model")


_LATEST = func.coalesce(
    select(func.max(VERSIONS.c.version))
    .where(VERSIONS.c.model == MODELS.c.model)
    .scalar_subquery(),
    0,
)
_FIELDS = {
    "name": text("models/" + MODELS.c.model),
    "creator": text(MODELS.c.principal),
    "create_time": time(MODELS.c.time),
    "latest_version": number(_LATEST),
}


def _models() -> Select[Any]:
    return select(MODELS, _LATEST.label("latest"))


def _record(row: RowMapping) -> ModelRecord:
    return ModelRecord(row["model"], row["principal"], row["time"], row["latest"], row["entry"])


def read_version(connection: Connection, model: str, version: int) -> VersionRecord:
    """Return one version. Raises SealgateError: MODEL_UNKNOWN, VERSION_UNKNOWN."""
    here = (VERSIONS.c.model == model, VERSIONS.c.version == version)
    row = connection.execute(VERSION_ROWS.where(*here)).mappings().one_or_none()
    if row is None:
        check_model(connection, model)
        raise SealgateError(Reason.VERSION_UNKNOWN, "no such version")
    return version_records(connection, [row])[0]


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


def _later(column: Column) -> ScalarSelect[Any]:
    """The value that another table has for a version's row, or None."""
    table = column.table
    of_version = (table.c.model == VERSIONS.c.model, table.c.version == VERSIONS.c.version)
    return select(column).where(*of_version).scalar_subquery()


_COMMITTED = (
    select(COMMITMENTS.c.entry)
    .where(COMMITMENTS.c.commitment == VERSIONS.c.commitment)
    .scalar_subquery()
)
VERSION_ROWS = select(
    VERSIONS,
    _later(REVOCATIONS.c.envelope).label("revocation"),
    _later(DRIFTS.c.time).label("withdrawn"),
    _COMMITTED.label("committed"),
)
"""The rows of versions, for `version_records`."""


def version_records(
    connection: Connection, rows: Sequence[RowMapping], *, signed: bool = True
) -> tuple[VersionRecord, ...]:
    """Return what rows of `VERSION_ROWS`, all of one model, say, with what came to the versions
    later; unless `signed`, without signatures and evidence.
    """
    evidence = _envelopes(connection, EVIDENCE, EVIDENCE.c.position, rows) if signed else {}
    attached = _envelopes(connection, ATTACHMENTS, ATTACHMENTS.c.entry, rows) if signed else {}
    return tuple(
        VersionRecord(
            model=row["model"],
            version=row["version"],
            digest=row["digest"],
            publisher=row["principal"],
            time=row["time"],
            manifest=bytes(row["manifest"]),
            signature=bytes(row["signature"]) if signed else b"",
            evidence=tuple(evidence.get(row["version"], ())),
            revocation_reason=_revocation_reason(row["revocation"]),
            commitment=row["commitment"],
            watermark_entry=row["committed"],
            entry=row["entry"],
            screening_withdrawn=row["withdrawn"] or "",
            attached=tuple(attached.get(row["version"], ())),
        )
        for row in rows
    )


def rows_within(connection: Connection, rows: tuple[RowMapping, ...]) -> tuple[RowMapping, ...]:
    """Return the first of the rows, all of one model, whose evidence fits into a page."""
    sizes = _sizes(connection, EVIDENCE, rows) + _sizes(connection, ATTACHMENTS, rows)
    return rows[: fitting(sizes[row["version"]] for row in rows)]


def _sizes(connection: Connection, table: Table, rows: Sequence[RowMapping]) -> Counter[int]:
    """The bytes of the envelopes that `table` has for each of the versions."""
    if not rows:
        return Counter()
    here = (
        table.c.model == rows[0]["model"],
        table.c.version.in_([row["version"] for row in rows]),
    )
    size = func.sum(func.length(table.c.envelope))
    query = select(table.c.version, size).where(*here).group_by(table.c.version)
    return Counter({version: int(total) for version, total in connection.execute(query)})


def _envelopes(
    connection: Connection, table: Table, order: Column, rows: Sequence[RowMapping]
) -> dict[int, list[bytes]]:
    """The envelopes that `table` has for each of the versions, in order."""
    found: dict[int, list[bytes]] = {}
    if rows:
        numbers = [row["version"] for row in rows]
        here = (table.c.model == rows[0]["model"], table.c.version.in_(numbers))
        query = select(table.c.version, table.c.envelope).where(*here).order_by(order)
        for version, envelope in connection.execute(query):
            found.setdefault(version, []).append(bytes(envelope))
    return found


def _revocation_reason(envelope: bytes | None) -> str:
    if envelope is None:
        return ""
    return Revocation.decode(Envelope.decode(bytes(envelope)).payload).reason
