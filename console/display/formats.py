"""Formats values for pages: digests, sizes, shares, times, and text that hides nothing.

Bytes in forms and pages, as WebAuthn's own JSON has them: base64url without padding.
"""

import base64
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
    written = format_time(text) if isinstance(text, datetime) else text
    shown = f"{written[:10]} {written[11:19]}"
    return Markup('<time datetime="{}">{}&nbsp;UTC</time>').format(written, shown)


def moment(seconds: float) -> Markup:
    """A time that is given in seconds since 1970."""
    return time(datetime.fromtimestamp(seconds, UTC))


def digest(text: str) -> Markup:
    """The beginning of a digest; whole for those who point at it, copy it or hear it."""
    algorithm, _, value = text.rpartition(":")
    if len(value) <= _SHORT:
        return Markup("<code>{}</code>").format(text)
    head = f"{algorithm}:{value[:_SHORT]}" if algorithm else value[:_SHORT]
    return Markup('<code class="digest" title="{0}">{1}…</code>').format(text, head)


def size(count: int) -> str:
    """`40.7 kB`."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def count(number: int) -> Markup:
    """`1 234 567`, with narrow spaces, which `visible` would write out in other texts."""
    return Markup(f"{number:,}".replace(",", "\u202f"))  # noqa: S704 - digits alone


def done(action: str) -> str:
    """What was done to an alias: `promoted`, `rolled back`."""
    return {"promote": "promoted", "rollback": "rolled back"}.get(action, action)


def plain(value: Any) -> str:
    """A value of a document, for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def paragraphs(text: str) -> Markup:
    return Markup("<br>").join(escape(visible(line)) for line in text.splitlines())


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
    "paragraphs": paragraphs,
}
