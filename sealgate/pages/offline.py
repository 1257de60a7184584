"""Builds pages that are one file and load nothing: a decision for a case file, a receipt's check.

The page that checks a receipt has scripts, and sends nothing: its Content-Security-Policy allows
its own style and scripts, by their hashes, and nothing else.
"""

import base64
import hashlib
import html
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby

from sealgate.printable import printable
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.receipts.answer_entry import NONE

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|\b[0-9a-f]{64}\b")
_STYLE = """\
body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#111}
h1{font-size:1.5rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}
dt{float:left;clear:left;width:11rem;color:#555}dd{margin:0 0 .2rem 11.5rem;overflow-wrap:anywhere}
code,pre{font:12.5px/1.4 ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
pre{background:#f3f3f3;padding:.5rem;margin:.4rem 0}ul{margin:.2rem 0;padding-left:1.2rem}
.bad{color:#a00000;font-weight:600}.good{color:#00602b;font-weight:600}
@media print{body{margin:0;max-width:none}section{break-inside:avoid}}
"""
_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Decision {title}</title><style>{style}</style></head><body>
<h1>Decision {title}</h1>
{summary}
{sections}
<section><h2>The receipt</h2><p>Save it as <code>receipt.json</code>; its SHA-256 is
<code>{digest}</code>.</p><pre>{receipt}</pre></section>
</body></html>
"""
_TITLES = {
    "receipt": "Receipt: this decision is in the log",
    "anchor": "Anchor: the registry's log covers it",
    "request": "Request: what was asked, and how it was computed",
    "policy": "Policy that was in force",
    "version": "Version that answered, and its files",
    "publisher": "Publisher who signed the files",
    "pointer": "Pointer: how the version went live",
    "approvals": "Proposal and approvals",
    "evidence": "Evidence that was approved",
    "later evidence": "Evidence that was attached later",
    "freshness": "Freshness: nothing newer was hidden",
    "revocation": "Revocation",
    "screening": "Screening, and what it led to",
}
_SCRIPTS = ("proof.mjs", "checks.mjs", "page.js")
# The lines that make modules of scripts, which the page needs in one piece.
_MODULE_LINES = re.compile(r"^(?:import|export) \{[^}]*\}[^;]*;\n", re.MULTILINE)
_STYLE_FILE = "receipt.css"
_POLICY = "default-src 'none'"


@dataclass(frozen=True, slots=True)
class CaseStep:
    """One finding of an examination: `found` is `holds` or a reason."""

    step: str
    what: str
    found: str


@dataclass(frozen=True, slots=True)
class Case:
    """The page's subject. `fields` are the opened fields of the receipt, whose bytes are `receipt`
    and whose entry is number `index` of the log `origin`. `examined` is the time of the
    examination, `roots` are the ids of the pinned root keys.
    """

    origin: str
    index: int
    fields: Mapping[str, str]
    receipt: bytes
    receipt_digest: str
    examined: str
    roots: Sequence[str]


def decision_page(case: Case, steps: Iterable[CaseStep], holds: str) -> str:
    """Return the page. Every text is escaped, for others chose its words."""
    found = list(steps)
    sections = [
        _section(case, step, list(findings), holds)
        for step, findings in groupby(found, lambda each: each.step)
    ]
    return _PAGE.format(
        title=_text(f"{case.index} of {case.origin}"),
        style=_STYLE,
        summary=_summary(case, all(each.found == holds for each in found)),
        sections="\n".join(sections),
        digest=_text(case.receipt_digest),
        receipt=_text(case.receipt.decode("utf-8", "replace")),
    )


def check_commands(step: str, fields: Mapping[str, str], origin: str, index: int) -> list[str]:
    """The commands with which a reader repeats a step."""
    model, version = shlex.quote(fields.get("model", "")), shlex.quote(fields.get("version", ""))
    time = shlex.quote(fields.get("time", ""))
    receipt = "sealgate receipt verify receipt.json"
    pack = f"sealgate audit export pack --model {model}"
    commands = {
        "receipt": [receipt, f"sealgate audit show {shlex.quote(origin)} {index}"],
        "anchor": ["sealgate audit verify --wait 90"],
        "request": [receipt],
        "policy": ["sealgate policy fetch", "sealgate policy show"],
        "version": [f"sealgate model show {model} {version}", pack],
        "publisher": [pack],
        "pointer": [f"sealgate audit as-of {time} {model}", f"sealgate model history {model}"],
        "approvals": [f"sealgate model proposals {model}"],
        "evidence": [pack],
        "later evidence": [pack],
        "freshness": [f"sealgate audit as-of {time} {model}"],
        "revocation": [f"sealgate audit blast-radius {model}/{version}"],
        "screening": ["sealgate audit decision receipt.json", "sealgate policy show"],
    }
    return commands.get(step, ["sealgate audit decision receipt.json"])


def _summary(case: Case, intact: bool) -> str:
    verdict = (
        '<span class="good">every step holds</span>'
        if intact
        else '<span class="bad">not every step holds</span>'
    )
    rows = {
        "Examined": f"{case.examined} by sealgate audit decision",
        "Root keys": ", ".join(case.roots),
        **{name.replace("_", " "): value for name, value in case.fields.items() if value},
    }
    listed = "".join(f"<dt>{_text(n)}</dt><dd>{_text(v)}</dd>" for n, v in rows.items())
    unscreened = case.fields.get("screening") == NONE
    warned = '<p><span class="bad">not screened</span></p>' if unscreened else ""
    return f"<p>{verdict}</p>{warned}<dl>{listed}</dl>"


def _section(case: Case, step: str, findings: list[CaseStep], holds: str) -> str:
    items = "".join(_finding(each, holds) for each in findings)
    digests = list(dict.fromkeys(d for each in findings for d in _DIGEST.findall(each.what)))
    shown = "".join(f"<li><code>{_text(digest)}</code></li>" for digest in digests)
    commands = "\n".join(check_commands(step, case.fields, case.origin, case.index))
    parts = [
        f"<section><h2>{_text(_TITLES.get(step, step))}</h2><ul>{items}</ul>",
        f"<p>Digests and keys</p><ul>{shown}</ul>" if digests else "",
        f"<p>Check it</p><pre>{_text(commands)}</pre></section>",
    ]
    return "".join(parts)


def _finding(each: CaseStep, holds: str) -> str:
    kind = "good" if each.found == holds else "bad"
    text = f"{_text(each.what)} " if each.what else ""
    return f'<li>{text}<span class="{kind}">{_text(each.found)}</span></li>'


def _text(value: str) -> str:
    return html.escape(printable(value, keep="\n"))


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
    style = _read(_STYLE_FILE)
    scripts = {name: _script(name) for name in _SCRIPTS}
    sources = {
        "style-src": [style],
        "script-src": list(scripts.values()),
    }
    rules = [f"{kind} {' '.join(map(_source, texts))}" for kind, texts in sources.items()]
    rules = [_POLICY, *rules, "base-uri 'none'", "form-action 'none'"]
    page = _read("receipt.html")
    page = _put(page, f'content="{_POLICY}"', f'content="{"; ".join(rules)}"')
    page = _put(page, f'<link rel="stylesheet" href="{_STYLE_FILE}">', f"<style>{style}</style>")
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
