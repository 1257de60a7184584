"""Pages of lists (AIP-158), continued by key, so that a list may grow meanwhile.

Each list runs along one position that never changes: the log entry of each record. A page token
names the last position that was given, and a digest of what was asked; it keeps no state here and
holds on every gateway. It is no secret and not signed: whoever makes one up only skips records that
they may read.
"""

import base64
import hashlib
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    and_,
    cast,
    not_,
    or_,
    types,
)

from registry.listing.filters import (
    AllOf,
    AnyOf,
    Comparison,
    Negation,
    Node,
    malformed,
    matches,
    parse_filter,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical
from sealgate.trust.times import format_time

DEFAULT_SIZE = 50
LARGEST_SIZE = 200

_TOKEN = struct.Struct(">q16s")
_TOKEN_FORM = re.compile(r"[A-Za-z0-9_-]{32}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", re.ASCII)

R = TypeVar("R")
S = TypeVar("S")
Condition = Callable[[str, "str | None"], ColumnElement[bool]]
"""From an operator and a value, None for `:*`, to SQL. Raises SealgateError(FILTER_MALFORMED)."""


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some records of a list; `next_page_token` is empty on the last page."""

    records: tuple[R, ...]
    next_page_token: str

    def map(self, read: Callable[[R], S]) -> "Page[S]":
        """The same page of what `read` makes of the records."""
        return Page(tuple(map(read, self.records)), self.next_page_token)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A request for a page of a list: size (0 means 50; at most 200), token, and filter.

    Raises SealgateError(PARAMETER_MALFORMED) for a negative size.
    """

    page_size: int = 0
    page_token: str = ""
    filter: str = ""

    def __post_init__(self) -> None:
        if self.page_size < 0:
            raise SealgateError(Reason.PARAMETER_MALFORMED, "a negative page size")

    @property
    def size(self) -> int:
        return min(self.page_size or DEFAULT_SIZE, LARGEST_SIZE)

    def after(self, *scope: str) -> int | None:
        """The position behind which the page begins, in the list that `scope` names.

        Raises SealgateError(PAGE_TOKEN_MALFORMED), for the token of another list or filter too.
        """
        if not self.page_token:
            return None
        if not _TOKEN_FORM.fullmatch(self.page_token):
            raise SealgateError(Reason.PAGE_TOKEN_MALFORMED)
        position, bound = _TOKEN.unpack(base64.urlsafe_b64decode(self.page_token))
        if bound != self._bound(scope):
            raise SealgateError(Reason.PAGE_TOKEN_MALFORMED, "for another list or filter")
        return int(position)

    def token(self, position: int, *scope: str) -> str:
        """The token of the page after `position`."""
        packed = _TOKEN.pack(position, self._bound(scope))
        return base64.urlsafe_b64encode(packed).decode()

    def _bound(self, scope: tuple[str, ...]) -> bytes:
        return hashlib.sha256(canonical.encode([*scope, self.filter])).digest()[:16]


FIRST_PAGE = ListQuery()
LARGEST_PAGE = 2 << 20
"""Bytes of what people wrote in a page: an answer must fit into a message (4 MiB)."""


def fitting(sizes: Iterable[int]) -> int:
    """How many of the first records of these sizes, at least one, a page has room for."""
    return max(1, sum(total <= LARGEST_PAGE for total in accumulate(sizes)))


def read_page(
    connection: Connection,
    query: Select[Any],
    position: ColumnElement[int],
    asked: ListQuery,
    scope: Sequence[str],
    fields: Mapping[str, Condition],
    *,
    descending: bool = False,
) -> Page[RowMapping]:
    """Read one page of the rows of `query`, which selects `position`, along it.

    Raises SealgateError: PAGE_TOKEN_MALFORMED, FILTER_MALFORMED.
    """
    after = asked.after(*scope)
    if after is not None:
        query = query.where(position < after if descending else position > after)
    if asked.filter:
        query = query.where(_sql(parse_filter(asked.filter), fields))
    # One more, to know whether there is one.
    query = query.order_by(position.desc() if descending else position).limit(asked.size + 1)
    rows = connection.execute(query).mappings().all()
    here = tuple(rows[: asked.size])
    more = len(rows) > len(here)
    return Page(here, asked.token(here[-1][position], *scope) if more else "")


def list_page(names: Sequence[str], asked: ListQuery, field: str) -> Page[str]:
    """One page of names that are known here and not in a database, each the field `field`.

    Raises SealgateError: PAGE_TOKEN_MALFORMED, also where the names are others now;
    FILTER_MALFORMED.
    """
    start = asked.after(field, *names)
    node = parse_filter(asked.filter) if asked.filter else AllOf(())
    found = [(at, name) for at, name in enumerate(names) if matches(node, {field: name})]
    here = [item for item in found if start is None or item[0] > start][: asked.size + 1]
    more = len(here) > asked.size
    token = asked.token(here[asked.size - 1][0], field, *names) if more else ""
    return Page(tuple(name for _, name in here[: asked.size]), token)


def text(value: ColumnElement[str]) -> Condition:
    """A field of text: `=` and `!=`, and `:*` if it is not empty."""

    def condition(operator: str, given: str | None) -> ColumnElement[bool]:
        if given is None:
            return value != ""
        return _compare(value, operator, given, ("=", "!="))

    return condition


def number(column: ColumnElement[int]) -> Condition:
    """A field that holds a natural number."""

    def condition(operator: str, given: str | None) -> ColumnElement[bool]:
        if given is None or not _NUMBER.fullmatch(given):
            raise malformed("not a number")
        return _compare(column, operator, int(given))

    return condition


def time(column: ColumnElement[str]) -> Condition:
    """A field that holds a time as `format_time` writes it, or nothing; to the second."""

    def condition(operator: str, given: str | None) -> ColumnElement[bool]:
        if given is None:
            return column != ""
        return and_(column != "", _compare(column, operator, _utc(given)))

    return condition


def member(has: Callable[[str], ColumnElement[bool]]) -> Condition:
    """A field of several values, in which `:` looks for one."""

    def condition(operator: str, given: str | None) -> ColumnElement[bool]:
        if operator != ":" or given is None:
            raise malformed("of a field of several values")
        return has(given)

    return condition


def presence(there: ColumnElement[bool]) -> Condition:
    """A field of which one can only ask whether it is there."""

    def condition(operator: str, given: str | None) -> ColumnElement[bool]:
        if given is not None:
            raise malformed("only :* is known of this field")
        return there

    return condition


def as_text(column: ColumnElement[int]) -> ColumnElement[str]:
    """A number in decimal digits."""
    return cast(column, types.Text)


def _sql(node: Node, fields: Mapping[str, Condition]) -> ColumnElement[bool]:
    match node:
        case AllOf(parts):
            return and_(*_all_sql(parts, fields))
        case AnyOf(parts):
            return or_(*_all_sql(parts, fields))
        case Negation(part):
            return not_(_sql(part, fields))
        case Comparison(field, operator, value):
            if field not in fields:
                raise malformed(f"no field {field}")
            return fields[field](operator, value)


def _all_sql(
    nodes: Iterable[Node], fields: Mapping[str, Condition]
) -> Iterable[ColumnElement[bool]]:
    return [_sql(node, fields) for node in nodes]


_OPERATORS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


def _compare(
    column: ColumnElement[Any], operator: str, value: Any, known: Iterable[str] = _OPERATORS
) -> ColumnElement[bool]:
    if operator not in known:
        raise malformed(f"{operator} of this field")
    return _OPERATORS[operator](column, value)


def _utc(given: str) -> str:
    if not _TIME.fullmatch(given):
        raise malformed("not a time to the second (RFC 3339)")
    try:
        return format_time(datetime.fromisoformat(given).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise malformed("no such time") from error
