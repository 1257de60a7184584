"""JSON in a file that somebody else wrote: whether every reader takes it alike, within bounds.

`[[],[],…]` takes three bytes a list on the wire and twenty times as many in memory, so the values
are counted before any is made.
"""

import json
from typing import Any

MOST_VALUES = 2 << 20
"""Values in a file: a tokenizer of some 200,000 tokens and 500,000 merges."""
# Readers may limit the digits of a whole number; this is the limit of Python's.
_MOST_DIGITS = 4300


def check_values(data: bytes, most: int = MOST_VALUES) -> None:
    """Raises ValueError where JSON may have more than `most` values.

    Each value but the first follows a bracket or a comma. Those within texts count too.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) >= most:
        raise ValueError("too many values")


def check_json(data: bytes) -> None:
    """Check JSON text, of which nothing is kept but its lists.

    Raises ValueError for what is not JSON, names something twice in an object, has NaN or
    infinity, is nested too deep, or has too many values or too long a number.
    """
    check_values(data)
    try:
        json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_repeats,
            parse_constant=_no_constant,
            parse_int=_short,
            parse_float=_short,
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("an object names something twice")


def _short(number: str) -> None:
    if len(number) > _MOST_DIGITS:
        raise ValueError("a number of too many digits")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
