"""Lists, read from the first page to the last (AIP-158)."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any


def every(
    method: Callable[[Any], Any], request: Any, field: str, limit: int | None = None
) -> Iterator[Any]:
    """The items of all pages, `limit` at most; `field` is where a page holds them.

    The request's filter holds for all pages. Each page is asked for when its turn comes.
    """
    if limit is not None:
        request.page_size = limit
    return itertools.islice(_items(method, request, field), limit)


def _items(method: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    while True:
        page = method(request)
        yield from getattr(page, field)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
