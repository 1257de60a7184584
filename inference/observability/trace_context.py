"""W3C Trace Context: the `traceparent` header that links the spans of several processes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

TRACEPARENT = "traceparent"
# W3C Trace Context, version 00: trace and span, neither of zeros alone, and flags.
_TRACEPARENT = re.compile(
    r"00-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
)

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]
"""Of a call: pairs, in order."""


@dataclass(frozen=True, slots=True)
class ParentSpan:
    """The caller's span: the ids in a `traceparent`."""

    trace: int
    span: int
    flags: int


def parent_in(metadata: Metadata) -> ParentSpan | None:
    """The span in the only `traceparent` of a call; None if there is none, several or a malformed
    one.
    """
    values = [value for key, value in metadata if key == TRACEPARENT]
    if len(values) != 1 or not isinstance(values[0], str):
        return None
    found = _TRACEPARENT.fullmatch(values[0])
    return ParentSpan(*(int(part, 16) for part in found.groups())) if found else None
