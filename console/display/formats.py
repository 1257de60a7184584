"""Formats values for pages: digests, sizes, shares, times, and text that hides nothing.

Bytes in forms and pages, as WebAuthn's own JSON has them: base64url without padding.
"""

import base64
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from sealgate.printable import printable
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.fields import base64url
from sealgate.trust.times import format_time

_SHORT = 12
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def visible(value: Any) -> Any:
    """Text with whatever cannot be seen written out, such as marks of direction.

    Others chose the names and reasons that pages show, and none may pass for something else.
    """
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return printable(value, keep="\n")


def time(text: str | datetime) -> Markup:
    """A UTC time; the page's script adds the reader's own time beside it."""
    if not text:
        return Markup("—")
    written = format_time(text) if isinstance(text, datetime) else visible(text)
    shown = f"{written[:10]} {written[11:19]}"
    return Markup('<time datetime="{}">{}&nbsp;UTC</time>').format(written, shown)


def moment(seconds: float) -> Markup:
    """A time that is given in seconds since 1970."""
    return time(datetime.fromtimestamp(seconds, UTC))


def digest(text: str) -> Markup:
    """The beginning of a digest; whole for those who point at it, copy it or hear it."""
    text = visible(text)
    algorithm, _, value = text.rpartition(":")
    if len(value) <= _SHORT:
        return Markup("<code>{}</code>").format(text)
    head = f"{algorithm}:{value[:_SHORT]}" if algorithm else value[:_SHORT]
    return Markup('<code class="digest" title="{0}">{1}…</code>').format(text, head)


_TOLD = re.compile(
    r"\b(?:sha256:)?[0-9a-f]{64}\b|\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", re.ASCII
)


def told(text: str) -> Markup:
    """A sentence of a finding, with its digests short and its times as on other pages."""
    parts, at = [], 0
    for found in _TOLD.finditer(text):
        parts.append(escape(visible(text[at : found.start()])))
        parts.append(time(found[0]) if found[0].endswith("Z") else digest(found[0]))
        at = found.end()
    return Markup("").join([*parts, escape(visible(text[at:]))])


def size(count: int) -> str:
    """`40.7 kB`."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


# The first that a browser names; others name these too.
_BROWSERS = {"Edg": "Edge", "OPR": "Opera", "Firefox": "", "Chrome": "", "Safari": ""}
_SYSTEMS = {
    "Android": "",
    "iPhone": "",
    "iPad": "",
    "Windows": "",
    "Mac OS X": "macOS",
    "Linux": "",
}


def browser(agent: str) -> str:
    """`Firefox on Windows`, by what a browser says of itself; all of that where it is another."""
    words = [
        next((name or key for key, name in known.items() if key in agent), "")
        for known in (_BROWSERS, _SYSTEMS)
    ]
    return " on ".join(words) if all(words) else agent or "unknown"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def count(number: int) -> Markup:
    """`1 234 567`, with narrow spaces, which `visible` would write out in other texts."""
    return Markup(f"{number:,}".replace(",", "\u202f"))  # noqa: S704 - digits alone


def done(action: str) -> str:
    """The action on an alias: `promoted`, `rolled back`."""
    return {"promote": "promoted", "rollback": "rolled back"}.get(action, action)


def plain(value: Any) -> str:
    """A value of a document, for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def from_base64url(form: Mapping[str, str], name: str) -> bytes:
    """The bytes of a form's field. Raises SealgateError(WEBAUTHN_MALFORMED)."""
    text = form.get(name, "")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise SealgateError(Reason.WEBAUTHN_MALFORMED, name) from None


FILTERS: Mapping[str, Callable[..., Any]] = {
    "base64url": base64url,
    "time": time,
    "moment": moment,
    "digest": digest,
    "size": size,
    "percent": percent,
    "count": count,
    "done": done,
    "plain": plain,
    "told": told,
    "browser": browser,
}
