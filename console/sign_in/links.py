"""One-time sign-in links of a single machine: files that `sealgate console link` writes.

The command mints the person's token, bound to the console's certificate, with the installation's
own issuer key. The console holds no such key: it takes the token from the file, once. The file is
named after the digest of the link's code, so a listing of the folder signs nobody in.
"""

import hashlib
import json
import re
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sealgate.trust.keys import write_private_file
from sealgate.trust.times import format_time, parse_time

_BYTES = 24
_CODE = re.compile(r"[A-Za-z0-9_-]{32}")
_LONGEST = 1 << 16


class LinkedToken(NamedTuple):
    """A token, and until when its link may be followed."""

    token: str
    until: datetime


def write_link(folder: Path, token: str, now: datetime, lifetime: timedelta) -> str:
    """Leave a token for the console; return the code of the link to it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    code = secrets.token_urlsafe(_BYTES)
    document = {"token": token, "until": format_time(now + lifetime)}
    write_private_file(folder / _name(code), json.dumps(document).encode())
    return code


def holds(folder: Path, code: str, now: datetime) -> bool:
    """Whether a link can still be followed; it is not used up."""
    found = _read(folder / _name(code)) if _CODE.fullmatch(code) else None
    return found is not None and now < found.until


def take_link(folder: Path, code: str, now: datetime) -> str | None:
    """The token of a link, which is used up by this; None for one that is unknown or too old."""
    if not _CODE.fullmatch(code):
        return None
    taken = folder / f"{_name(code)}.{secrets.token_hex(8)}"
    try:
        # Of two who follow the link, one moves the file.
        (folder / _name(code)).rename(taken)
    except FileNotFoundError:
        return None
    found = _read(taken)
    taken.unlink()
    return found.token if found is not None and now < found.until else None


def _name(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()


def _read(path: Path) -> LinkedToken | None:
    try:
        document = json.loads(path.read_bytes()[:_LONGEST])
    except (FileNotFoundError, ValueError):
        return None
    return LinkedToken(str(document["token"]), parse_time(str(document["until"])))
