"""JSON, read strictly: UTF-8, no NaN or infinity, no key twice, and objects with known keys alone.

Nesting is bounded by the parser, which gives up at the interpreter's own depth.
"""

import json
import threading
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any, NoReturn

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields

# What a text becomes takes up to thirty times its room, so large ones are parsed one at a time;
# the interpreter lets no two go on at once anyway.
_LARGE = 64 * 1024
# Arrays and objects, which take more than all else while the interpreter makes them; a tensor has
# few of them for its numbers.
_MOST_CONTAINERS = 1 << 16
_one_large = threading.Lock()


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Hold the place for a large document while it is parsed and made smaller again."""
    if size <= _LARGE:
        yield
        return
    with _one_large:
        yield


def parse(document: bytes | bytearray | memoryview) -> Any:
    """Raises: MESSAGE_MALFORMED."""
    try:
        written = str(document, "utf-8")
        if written.count("[") + written.count("{") > _MOST_CONTAINERS:
            raise ValueError("too many arrays and objects")
        return json.loads(
            written, object_pairs_hook=fields.unique_members, parse_constant=_constant
        )
    except (ValueError, RecursionError) as error:
        raise SealgateError(
            Reason.MESSAGE_MALFORMED, f"not JSON: {type(error).__name__}"
        ) from error


def members(value: Any, needed: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """An object that has the needed keys and, of others, the optional ones at most.

    Raises: MESSAGE_MALFORMED.
    """
    found = any_members(value)
    if not needed <= found.keys() <= needed | optional:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "an object has other keys")
    return found


def any_members(value: Any) -> dict[str, Any]:
    """An object, whatever its keys. Raises: MESSAGE_MALFORMED."""
    if type(value) is not dict:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not an object")
    return value


def items(value: Any) -> list[Any]:
    """Raises: MESSAGE_MALFORMED."""
    if type(value) is not list:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not an array")
    return value


def text(value: Any) -> str:
    """A string that is one in UTF-8 too. Raises: MESSAGE_MALFORMED."""
    if type(value) is not str:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "not a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SealgateError(Reason.MESSAGE_MALFORMED, "half of a surrogate pair") from error
    return value


def _constant(name: str) -> NoReturn:
    raise SealgateError(Reason.MESSAGE_MALFORMED, name)
