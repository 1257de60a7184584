"""Models, and the commitments to watermark keys that come before their versions."""

from sqlalchemy import Connection, func, select

from registry.events import MODEL_CREATED, WATERMARK_COMMITTED
from registry.policies import PolicyBook
from registry.records import ModelRecord
from registry.schema import COMMITMENTS, MODELS, VERSIONS
from registry.unit_of_work import Ledger
from sealgate.reasons import Reason, Refusal
from sealgate.trust.digest import check_digest
from sealgate.trust.names import check_name


class Models:
    """The use cases around models."""

    def __init__(self, ledger: Ledger, book: PolicyBook) -> None:
        self._ledger = ledger
        self._book = book

    def create(self, principal: str, model: str) -> ModelRecord:
        """Create a model. Raises Refusal: NAME_MALFORMED, MODEL_EXISTS."""
        check_name(model)
        with self._ledger.change(principal) as unit:
            self._book.read(unit.connection).current(unit.now)
            known = select(MODELS.c.model).where(MODELS.c.model == model)
            if unit.connection.scalar(known) is not None:
                raise Refusal(Reason.MODEL_EXISTS, model)
            unit.add(MODEL_CREATED, model=model)
            unit.commit()
        return self.get(model)

    def get(self, model: str) -> ModelRecord:
        """Return one model. Raises Refusal(MODEL_UNKNOWN)."""
        with self._ledger.view() as connection:
            found = _models(connection, model)
        if not found:
            raise Refusal(Reason.MODEL_UNKNOWN, "no such model")
        return found[0]

    def list(self) -> tuple[ModelRecord, ...]:
        """Return all models by name."""
        with self._ledger.view() as connection:
            return _models(connection)

    def commit_watermark(self, principal: str, model: str, commitment: str) -> int:
        """Log a digest that binds a watermark key to a model; return the entry's index.

        The same commitment by the same principal for the same model is the same entry. Raises
        Refusal: DOCUMENT_MALFORMED, MODEL_UNKNOWN, COMMITMENT_EXISTS.
        """
        check_digest(commitment)
        with self._ledger.change(principal) as unit:
            self._book.read(unit.connection).current(unit.now)
            check_model(unit.connection, model)
            table = COMMITMENTS
            known = select(table).where(table.c.commitment == commitment)
            row = unit.connection.execute(known).one_or_none()
            if row is not None:
                if (row.model, row.principal) != (model, principal):
                    raise Refusal(Reason.COMMITMENT_EXISTS, commitment)
                return int(row.entry)
            entry = unit.add(WATERMARK_COMMITTED, commitment=commitment, model=model)
            unit.commit()
        return entry


def check_model(connection: Connection, model: str) -> None:
    """Raises Refusal(MODEL_UNKNOWN) unless there is such a model."""
    if connection.scalar(select(MODELS.c.model).where(MODELS.c.model == model)) is None:
        raise Refusal(Reason.MODEL_UNKNOWN, "no such model")


def _models(connection: Connection, model: str | None = None) -> tuple[ModelRecord, ...]:
    latest = (
        select(func.max(VERSIONS.c.version))
        .where(VERSIONS.c.model == MODELS.c.model)
        .scalar_subquery()
    )
    query = select(MODELS, latest.label("latest"))
    if model is not None:
        query = query.where(MODELS.c.model == model)
    # Sorted here: databases differ in how they collate.
    rows = sorted(connection.execute(query), key=lambda row: str(row.model))
    return tuple(
        ModelRecord(row.model, row.principal, row.time, row.latest or 0, row.entry) for row in rows
    )
