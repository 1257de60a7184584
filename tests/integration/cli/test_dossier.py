"""The regulator's file: every line is proved by the log, or says that it is not covered."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from sealgate.audit.entries import ProvedEntry
from sealgate.audit.reader import AuditReader
from sealgate.dossier import NOT_COVERED, Dossier, template, template_names, write_files
from sealgate.dossier.pages import ENVELOPE, HTML, MARKDOWN
from sealgate.trust import canonical, dsse
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_private_key
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.oracles.programs import python_with

HOSTILE = "<script>alert(1)</script> [x](javascript:1)"


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(
        tmp_path_factory.mktemp("house") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        harness.promote("digits", 2)
        rejected = harness.propose("digits", 1)
        harness.governance("approver-1").comment(rejected.digest, HOSTILE)
        harness.governance("approver-1").reject(rejected.digest, "not that one again")
        harness.governance("admin").rollback("digits", "production", 1, "complaints")
        yield harness


@pytest.fixture(scope="module")
def entries(harness: GatewayHarness) -> list[ProvedEntry]:
    policy = harness.governance("auditor").policy()
    reader = AuditReader(harness.channel("auditor"), policy, lambda: datetime.now(UTC))
    return list(reader.records())


def key_of(harness: GatewayHarness, person: str) -> Path:
    return harness.state / "people" / person / "signing.key"


def written(harness: GatewayHarness, folder: Path, name: str = "annex-iv") -> Dossier:
    words = ("dossier", "digits", str(folder), "--template", name)
    key = ("--key", str(key_of(harness, "admin")))
    result = harness.command("--as", "auditor", "audit", *words, *key)
    assert result.exit_code == 0, result.output
    envelope = Envelope.decode((folder / ENVELOPE).read_bytes())
    return Dossier.from_json(json.loads(envelope.payload)["predicate"])


@pytest.mark.parametrize("name", template_names())
def test_every_citation_is_an_entry_that_names_its_document(
    harness: GatewayHarness, entries: list[ProvedEntry], tmp_path: Path, name: str
) -> None:
    found = written(harness, tmp_path / "dossier", name)
    assert [section.ref for section in found.sections] == [
        heading.ref for heading in template(name).headings
    ]
    assert all(section.claims for section in found.sections)
    for claim in found.claims:
        assert claim.is_covered is not claim.text.startswith(NOT_COVERED), claim
        for cited in claim.citations:
            entry = entries[cited.entry]
            assert cited.entry < found.size
            assert not cited.document or cited.document in entry.documents, claim


def test_the_log_is_told_of_as_it_is(harness: GatewayHarness, tmp_path: Path) -> None:
    texts = [claim.text for claim in written(harness, tmp_path / "dossier").claims]
    for part in (
        "production names version 1",
        "Version 2, sha256:",
        "approved by approver-1",
        "production rolled back by admin: complaints",
        "proposal rejected by approver-1: not that one again",
        "Intended use, by the publisher: Demonstration of a governed model",
        "Attack fgsm-0.1: fools",
        "Watermark in INT8: z",
        f"comment by approver-1: {HOSTILE}",
    ):
        assert any(part in text for text in texts), part


def test_the_pages_say_all_of_it_and_let_nobody_write_markup(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    found = written(harness, tmp_path / "dossier")
    page = (tmp_path / "dossier" / HTML).read_text()
    text = (tmp_path / "dossier" / MARKDOWN).read_text()
    assert "<script" not in page
    rendered = MarkdownIt().render(text)
    assert "<a " not in rendered
    assert "<script" not in rendered
    assert "alert(1)" in rendered
    assert "claims no conformity" in page
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert page.count("<li>") + page.count('<li class="not">') == len(found.claims)
    # The head of the dossier is a list, too.
    assert len(lines) == len(found.claims) + 6
    assert set(re.findall(r'href="#(p\d+)"', page)) == set(re.findall(r'id="(p\d+)"', page))


def test_it_is_checked_against_its_signature_its_pages_and_the_log(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    folder = tmp_path / "dossier"
    found = written(harness, folder)
    check = ("--as", "auditor", "audit", "check-dossier", str(folder))
    result = harness.command(*check, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["signed_by"] == "admin"
    page = (folder / HTML).read_bytes()
    (folder / HTML).write_bytes(page.replace(b"complaints", b"compliments"))
    assert "DIGEST_MISMATCH" in harness.command(*check).output
    (folder / HTML).write_bytes(page)
    # By somebody whose key it is, but of what the log does not say.
    other = found.to_json()
    other["sections"][0]["claims"][0]["text"] = "Everything is well"
    _resign(folder, Dossier.from_json(other), key_of(harness, "admin"))
    assert "EVIDENCE_MISMATCH" in harness.command(*check).output
    envelope = Envelope.decode((folder / ENVELOPE).read_bytes())
    stranger = dsse.sign(
        envelope.payload_type, envelope.payload, load_private_key(key_of(harness, "publisher"))
    )
    forged = canonical.decode(stranger.encode())
    forged["signatures"][0]["keyid"] = envelope.signatures[0][0]
    (folder / ENVELOPE).write_bytes(canonical.encode(forged))
    assert "SIGNATURE_INVALID" in harness.command(*check).output


def _resign(folder: Path, dossier: Dossier, key: Path) -> None:
    for name in (HTML, MARKDOWN, ENVELOPE):
        (folder / name).unlink()
    folder.rmdir()
    write_files(dossier, folder, load_private_key(key))


def test_in_toto_reads_the_statement(harness: GatewayHarness, tmp_path: Path) -> None:
    written(harness, tmp_path / "dossier")
    program = (
        "import json, sys, base64\n"
        "from google.protobuf import json_format\n"
        "from in_toto_attestation.v1.statement import Statement\n"
        "envelope = json.load(open(sys.argv[1]))\n"
        "payload = json.loads(base64.b64decode(envelope['payload']))\n"
        "subjects = payload['subject']\n"
        "from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor\n"
        "named = [ResourceDescriptor(name=s['name'], digest=s['digest']).pb for s in subjects]\n"
        "Statement(named, payload['predicateType'], payload['predicate']).validate()\n"
        "print(len(named))\n"
    )
    done = subprocess.run(
        [python_with("in_toto_attestation"), "-c", program, str(tmp_path / "dossier" / ENVELOPE)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "2", done.stderr


def test_an_unknown_model_or_a_key_of_nobody_is_refused(
    harness: GatewayHarness, tmp_path: Path
) -> None:
    words = ("--as", "auditor", "audit", "dossier")
    template_of = ("--template", "annex-iv")
    key = ("--key", str(key_of(harness, "admin")))
    result = harness.command(*words, "unheard", str(tmp_path / "a"), *template_of, *key)
    assert "MODEL_UNKNOWN" in result.output
    root = ("--key", str(harness.state / "roots" / "root-1.key"))
    result = harness.command(*words, "digits", str(tmp_path / "b"), *template_of, *root)
    assert "SIGNER_MISMATCH" in result.output
    result = harness.command(*words, "digits", str(tmp_path), *template_of, *key)
    assert "exists already" in result.output
    assert not list(tmp_path.iterdir())
