"""A dossier as one HTML page, without scripts and network, and as Markdown."""

import html
import re
from collections.abc import Iterator

from sealgate.dossier.claims import Citation, DossierClaim
from sealgate.dossier.document import Dossier, Section

_STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#111}
h1{font-size:1.5rem}
h2{font-size:1.1rem;margin:1.8rem 0 .3rem;border-top:1px solid #ccc;padding-top:1rem}
dt{float:left;clear:left;width:8rem;color:#555}dd{margin:0 0 .2rem 8.5rem;overflow-wrap:anywhere}
li{margin:.25rem 0;overflow-wrap:anywhere}.cite a{color:#555;font-size:.85em}.not{color:#7a4b00}
@media (prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}.cite a,dt{color:#a6adb8}
.not{color:#e5b567}h2{border-color:#444}}
@media print{body{margin:0;max-width:none;background:#fff;color:#000}
.cite a{color:#444}.not{color:#000}}
"""
_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head><body>
<h1>{title}</h1>
<dl>{about}</dl>
<p>{disclaimer}</p>
{sections}
</body></html>
"""
_DISCLAIMER = (
    "This document claims no conformity with any law or standard. Each line cites the entries of "
    "the registry's log that prove it (under Proofs), or says that Sealgate does not cover it. "
    "Check it with: sealgate audit check-dossier FOLDER"
)


def as_html(dossier: Dossier) -> str:
    """The page. Every text is escaped, for others chose its words."""
    about = "".join(f"<dt>{_text(n)}</dt><dd>{_text(v)}</dd>" for n, v in _about(dossier))
    numbers = _numbered(dossier)
    sections = [_section(section, numbers) for section in dossier.sections]
    proofs = "".join(
        f'<li id="p{number}">{_text(_named(each))}</li>' for each, number in numbers.items()
    )
    return _PAGE.format(
        title=_text(_title(dossier)),
        style=_STYLE,
        about=about,
        disclaimer=_text(_DISCLAIMER),
        sections="\n".join([*sections, f"<h2>Proofs</h2><ol>{proofs}</ol>"]),
    )


def as_markdown(dossier: Dossier) -> str:
    """The same as Markdown (CommonMark), a claim a line."""
    numbers = _numbered(dossier)
    lines = [f"# {_marked(_title(dossier))}", ""]
    lines += [f"- {name}: {_marked(value)}" for name, value in _about(dossier)]
    lines += ["", _DISCLAIMER]
    for section in dossier.sections:
        lines += ["", f"## {_marked(f'{section.ref}: {section.title}')}", ""]
        lines += [f"- {_marked(claim.text)}{_cited(claim, numbers)}" for claim in section.claims]
    lines += ["", "## Proofs", ""]
    lines += [f"{number}. {_marked(_named(each))}" for each, number in numbers.items()]
    return "\n".join([*lines, ""])


def _title(dossier: Dossier) -> str:
    return f"{dossier.title}: {dossier.model}"


def _about(dossier: Dossier) -> Iterator[tuple[str, str]]:
    covered = sum(claim.is_covered for claim in dossier.claims)
    yield "Model", f"{dossier.model}, version {dossier.version or 'none'}"
    yield "Framework", dossier.source
    yield "Scope", dossier.scope
    yield "Made", dossier.time
    yield "Log", f"{dossier.log}, {dossier.size} entries"
    yield "Lines", f"{covered} with proof, {len(dossier.claims) - covered} not covered"


def _numbered(dossier: Dossier) -> dict[Citation, int]:
    """A number for each citation, in the order in which they come."""
    cited = dict.fromkeys(each for claim in dossier.claims for each in claim.citations)
    return {each: number for number, each in enumerate(cited, 1)}


def _named(citation: Citation) -> str:
    document = f", document {citation.document}" if citation.document else ""
    return f"Entry {citation.entry}{document}"


def _section(section: Section, numbers: dict[Citation, int]) -> str:
    items = "".join(_item(claim, numbers) for claim in section.claims)
    return f"<h2>{_text(f'{section.ref}: {section.title}')}</h2><ul>{items}</ul>"


def _item(claim: DossierClaim, numbers: dict[Citation, int]) -> str:
    if not claim.is_covered:
        return f'<li class="not">{_text(claim.text)}</li>'
    cites = "".join(
        f'<a href="#p{number}">[{number}]</a>'
        for number in (numbers[each] for each in claim.citations)
    )
    return f'<li>{_text(claim.text)} <span class="cite">{cites}</span></li>'


def _cited(claim: DossierClaim, numbers: dict[Citation, int]) -> str:
    return "".join(f" \\[{numbers[each]}\\]" for each in claim.citations)


def _text(value: str) -> str:
    return html.escape("".join(_printable(value)))


def _marked(value: str) -> str:
    """Nothing in it is markup: what begins emphasis, code, links, tags or entities is escaped."""
    return re.sub(r"([\\`*_\[\]<>&|~])", r"\\\1", "".join(_printable(value)))


def _printable(value: str) -> Iterator[str]:
    """Characters that change how a text reads, such as direction marks, are escaped."""
    for char in value:
        yield char if char.isprintable() else char.encode("unicode_escape").decode()
