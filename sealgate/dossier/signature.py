"""The files of a dossier, and the statement that signs them.

`dossier.html` and `dossier.md` are for people. `dossier.dsse.json` is a DSSE envelope with an
in-toto statement (v1): its subjects are the two files by SHA-256, its predicate is the dossier.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from sealgate.dossier.document import Dossier
from sealgate.dossier.pages import as_html, as_markdown
from sealgate.files import read_regular_file, replace_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, dsse, fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import Signer
from sealgate.trust.policy import Policy

PAYLOAD_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "urn:sealgate:dossier:v1"
_STATEMENT = "https://in-toto.io/Statement/v1"
ENVELOPE, HTML, MARKDOWN = "dossier.dsse.json", "dossier.html", "dossier.md"


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
    if (outer["_type"], outer["predicateType"]) != (_STATEMENT, PREDICATE_TYPE):
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
        "_type": _STATEMENT,
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
