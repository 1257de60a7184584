"""Lists: filters (AIP-160) and pages (AIP-158)."""

from registry.listing.paging import (
    FIRST_PAGE,
    ListQuery,
    Page,
    as_text,
    fitting,
    list_page,
    member,
    number,
    presence,
    read_page,
    text,
    time,
)

__all__ = [
    "FIRST_PAGE",
    "ListQuery",
    "Page",
    "as_text",
    "fitting",
    "list_page",
    "member",
    "number",
    "presence",
    "read_page",
    "text",
    "time",
]
