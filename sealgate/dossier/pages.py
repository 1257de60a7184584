"""The files of a dossier: one HTML page, Markdown, and the statement that signs both.

`dossier.html` and `dossier.md` are for people. `dossier.dsse.json` is a DSSE envelope with an
in-toto statement (v1): its subjects are the two files by SHA-256, its predicate is the dossier.
"""

import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sealgate.dossier.document import Dossier, Section
from sealgate.dossier.record import Citation, DossierClaim
from sealgate.files import read_regular_file, replace_file
from sealgate.printable import printable
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, dsse, fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy
from sealgate.trust.statements.oms import STATEMENT

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
PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "urn:sealgate:dossier:v1"
ENVELOPE, HTML, MARKDOWN = "dossier.dsse.json", "dossier.html", "dossier.md"


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
    return html.escape(printable(value))


def _marked(value: str) -> str:
    """Nothing in it is markup: what begins emphasis, code, links, tags or entities is escaped."""
    return re.sub(r"([\\`*_\[\]<>&|~])", r"\\\1", printable(value))


def write_files(dossier: Dossier, folder: Path, signer: Signer) -> Envelope:
    """Write the three files into the new `folder`. Raises FileExistsError where it exists."""
    pages = _pages(dossier)
    envelope = dsse.sign(PAYLOAD_TYPE, _statement(dossier, pages), signer)
    folder.mkdir(parents=True)
    for name, data in pages.items():
        replace_file(folder / name, data)
    replace_file(folder / ENVELOPE, envelope.encode())
    return envelope


def check_files(folder: Path, policies: tuple[Policy, ...]) -> tuple[Dossier, str]:
    """The dossier in a folder, and who signed it.

    1. A person of one of the policies has signed the statement, with a key that the newest still
       lists (SIGNER_MISMATCH, SIGNATURE_INVALID, KEY_WITHDRAWN).
    2. It is of this form (DOCUMENT_MALFORMED).
    3. The two files are the pages of that dossier, of which the statement has the digests
       (DIGEST_MISMATCH).

    Raises OSError where a file cannot be read.
    """
    envelope = Envelope.decode(read_regular_file(folder / ENVELOPE))
    # 1.
    signer = _verify(envelope, policies)
    # 2.
    document = fields.mapping(json.loads(envelope.payload))
    outer = fields.record(document, ("_type", "subject", "predicateType", "predicate"))
    if (outer["_type"], outer["predicateType"]) != (STATEMENT, PREDICATE_TYPE):
        raise fields.malformed("a statement about something other than a dossier")
    dossier = Dossier.from_json(outer["predicate"])
    # 3.
    pages = _pages(dossier)
    for name, page in pages.items():
        if read_regular_file(folder / name) != page:
            raise SealgateError(Reason.DIGEST_MISMATCH, f"{name} is not what was signed")
    if envelope.payload != _statement(dossier, pages):
        raise SealgateError(Reason.DIGEST_MISMATCH, "the statement is about other files")
    return dossier, signer


def _pages(dossier: Dossier) -> dict[str, bytes]:
    return {HTML: as_html(dossier).encode(), MARKDOWN: as_markdown(dossier).encode()}


def _statement(dossier: Dossier, pages: dict[str, bytes]) -> bytes:
    subject = [
        {"name": name, "digest": {"sha256": hashlib.sha256(data).hexdigest()}}
        for name, data in sorted(pages.items())
    ]
    statement: dict[str, Any] = {
        "_type": STATEMENT,
        "subject": subject,
        "predicateType": PREDICATE_TYPE,
        "predicate": dossier.to_json(),
    }
    return canonical.encode(statement)


def _verify(envelope: Envelope, policies: tuple[Policy, ...]) -> str:
    if len(envelope.signatures) != 1:
        raise SealgateError(Reason.SIGNER_MISMATCH, "a dossier has one signature")
    keyid = envelope.signatures[0][0]
    for policy in reversed(policies):
        holder = policy.holder(keyid)
        if holder is None:
            continue
        dsse.verify(envelope, PAYLOAD_TYPE, policy.keys_of(holder.name))
        if not policies[-1].lists(keyid):
            raise SealgateError(Reason.KEY_WITHDRAWN, keyid)
        return holder.name
    raise SealgateError(Reason.SIGNER_MISMATCH, "nobody of the policy signed the dossier")
