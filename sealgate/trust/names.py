"""The names of models, aliases, principals and kinds of evidence.

They are short, lower-case and plain, so that no name can be read as a path, a URL or markup.
"""

import re

from sealgate.reasons import Reason, Refusal

SPIFFE_ID = r"(?=.{1,2048}$)spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+"
"""A workload's SPIFFE ID: a trust domain and a path of plain segments, none of them `.` or `..`."""

_FORM = re.compile(r"[a-z][a-z0-9-]{0,62}")


def check_name(text: str, reason: Reason = Reason.NAME_MALFORMED) -> str:
    """Return `text` if it is a name. Raises Refusal(reason)."""
    if not isinstance(text, str) or not _FORM.fullmatch(text):
        raise Refusal(reason, "a name is not of the form [a-z][a-z0-9-]{0,62}")
    return text
