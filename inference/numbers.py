"""Numbers in the JSON documents that travel with a version, read strictly.

Canonical JSON (RFC 8785) writes 1.0 as 1, so a number may arrive as int; a bool is never one here.
Both raise Refusal(DOCUMENT_MALFORMED).
"""

import math
from typing import Any

from sealgate.trust import fields


def number(value: Any) -> float:
    """Return `value` as a float if it is a finite number."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise fields.malformed("a finite number is expected")
    return float(value)


def numbers(value: Any) -> tuple[float, ...]:
    """Return a list of finite numbers as a tuple."""
    return tuple(number(item) for item in fields.items(value))
