"""Builds the page that checks a receipt in a browser: one file, no network.

The page loads nothing and sends nothing: its Content-Security-Policy allows its own style and
scripts, by their hashes, and nothing else.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey

_SCRIPTS = ("proof.mjs", "checks.mjs", "page.js")
# What makes modules of scripts, which the page needs in one piece.
_MODULE_LINES = re.compile(r"^(?:import|export) \{[^}]*\}[^;]*;\n", re.MULTILINE)
_STYLE = "receipt.css"
_POLICY = "default-src 'none'"


@dataclass(frozen=True, slots=True)
class PagePins:
    """The trust anchors embedded in a page: the policies, oldest first, and the root keys, of which
    `threshold` must have signed the first.
    """

    policies: Sequence[Envelope]
    root_keys: Sequence[PublicKey]
    threshold: int

    def to_json(self) -> dict[str, object]:
        return {
            "policies": [envelope.encode().decode("utf-8") for envelope in self.policies],
            "root_keys": [key.pem for key in self.root_keys],
            "threshold": self.threshold,
        }


def receipt_page(pins: PagePins | None = None) -> str:
    """Return the page; without pins it asks its reader for the policy and the root keys."""
    style = _read(_STYLE)
    scripts = {name: _script(name) for name in _SCRIPTS}
    sources = {
        "style-src": [style],
        "script-src": list(scripts.values()),
    }
    rules = [f"{kind} {' '.join(map(_source, texts))}" for kind, texts in sources.items()]
    rules = [_POLICY, *rules, "base-uri 'none'", "form-action 'none'"]
    page = _read("receipt.html")
    page = _put(page, f'content="{_POLICY}"', f'content="{"; ".join(rules)}"')
    page = _put(page, f'<link rel="stylesheet" href="{_STYLE}">', f"<style>{style}</style>")
    for name, script in scripts.items():
        page = _put(page, f'<script src="{name}"></script>', f"<script>{script}</script>")
    return _put(page, ">null</script>", f">{_pinned(pins)}</script>")


def _read(name: str) -> str:
    return (files("sealgate") / "pages" / name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    text = _MODULE_LINES.sub("", _read(name))
    return text if name.endswith(".js") else f'"use strict";\n{text}'


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _pinned(pins: PagePins | None) -> str:
    """JSON in which nothing can end the element that holds it."""
    text = canonical.encode(pins.to_json() if pins else None).decode("utf-8")
    return text.replace("<", "\\u003c")


def _put(page: str, old: str, new: str) -> str:
    if page.count(old) != 1:
        raise ValueError(f"the page's source has not one {old}")
    return page.replace(old, new)
