"""Test files whose tests all run on request, by what they say of themselves."""

import re

COMMON = "not long and not slow"
"""Which tests run unless others are asked for: the `-m` of pyproject.toml."""
_MARKED = re.compile(r"^pytestmark = (?:\[[^\]]*?)?pytest\.mark\.(?:slow|long)\b", re.MULTILINE)


def all_on_request(text: str) -> bool:
    """Whether none of a file's tests is run unless asked for."""
    return _MARKED.search(text) is not None
