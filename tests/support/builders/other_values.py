"""Documents of JSON that say something of another type than what a valid one says."""

import copy
from collections.abc import Iterator
from typing import Any

OTHERS: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    "",
    "x",
    [],
    [[]],
    ["x"],
    [1],
    {},
    {"x": 1},
)
"""One of each type at least, empty and not."""


def exchanged(document: Any) -> Iterator[Any]:
    """The document with each value in turn as each of `OTHERS`, or left out."""
    for path in _paths(document):
        for other in OTHERS:
            yield _replaced(document, path, copy.deepcopy(other))
        if path:
            yield _without(document, path)


def _paths(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    # Of a list, the first is as good as any other.
    held = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        held = list(enumerate(value))[:2]
    for name, inner in held:
        yield from _paths(inner, (*here, name))


def _replaced(document: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    changed = copy.deepcopy(document)
    _holder(changed, path)[path[-1]] = other
    return changed


def _without(document: Any, path: tuple[Any, ...]) -> Any:
    changed = copy.deepcopy(document)
    del _holder(changed, path)[path[-1]]
    return changed


def _holder(document: Any, path: tuple[Any, ...]) -> Any:
    for name in path[:-1]:
        document = document[name]
    return document
