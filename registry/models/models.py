"""Models, and commitments to watermark keys that precede their versions."""

from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, func, select

from registry.listing.paging import FIRST_PAGE, ListQuery, Page, number, read_page, text, time
from registry.policy.policies import PolicyBook
from registry.state.events import MODEL_CREATED, WATERMARK_COMMITTED
from registry.state.records import ModelRecord
from registry.state.schema import COMMITMENTS, MODELS, VERSIONS
from registry.state.unit_of_work import Ledger, RepeatedRequest, RequestKey
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import check_digest
from sealgate.trust.fields import check_name


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
