"""Text from others is escaped before it is printed, so it can't control a terminal or rich's
markup.
"""

import io
import json
from contextlib import nullcontext
from datetime import UTC, datetime
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from publishing.evidence.signing import sign_evidence
from sealgate.cli import output
from sealgate.cli.model import show
from sealgate.cli.model.proposals import show_review
from sealgate.cli.output import show_fields, show_line, show_rows
from sealgate.promotion.documents import ProposalReview
from sealgate.trust.keys import PrivateKey
from sealgate.trust.statements import Evidence, Manifest
from sealgate.v1.audit_pb2 import StreamOpeningsRequest
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from sealgate.v1.log_pb2 import GetEntryRequest
from sealgate.v1.registry_pb2 import Version
from tests.support.harness.gateway import running
from tests.support.harness.registry import RegistryHarness

HOSTILE = "\x1b[2A\x1b[2Kdigest\n\r\x9b2J\u202eseen"
ESCAPED = r"\x1b[2A\x1b[2Kdigest\n\r\x9b2J\u202eseen"


def printed(show, *arguments: object) -> str:
    """Return the command's output with its colours."""

    @click.command()
    def command() -> None:
        show(*arguments)

    result = CliRunner().invoke(command, color=True)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def proposal(tmp_path):
    registry_harness = RegistryHarness(tmp_path, f"sqlite:///{tmp_path}/registry.db").found()
    yield registry_harness.proposal(registry_harness.publish())
    registry_harness.registry.close()


def test_evidence_cannot_rewrite_what_an_approver_reads(proposal) -> None:
    body = {"rows": HOSTILE, HOSTILE: 1, "inner": {HOSTILE: {"n": HOSTILE}}}
    item = Evidence("golden-run", proposal.digest, "paula", proposal.created, body)
    text = printed(show_review, ProposalReview(proposal, (item,), "paula"))
    assert text.count(ESCAPED) == 4
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_shown_version_cannot_rewrite_earlier_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manifest, body = Manifest.of({"model.json": b"{}"}), {"columns": {HOSTILE: HOSTILE}}
    now, key = datetime(2026, 11, 26, tzinfo=UTC), PrivateKey.generate()
    (item,) = sign_evidence({"screening-report": body}, manifest.digest, "paula", key, now)
    version = Version(manifest=manifest.encode(), evidence=[item.encode()])
    registry = SimpleNamespace(GetVersion=lambda _: SimpleNamespace(version=version))
    monkeypatch.setattr(show, "profile", lambda *_: None)
    monkeypatch.setattr(show, "connected", lambda _: nullcontext())
    monkeypatch.setattr(show, "policy_history", lambda *_: [])
    monkeypatch.setattr(show, "screening_facts", lambda *_: {})
    monkeypatch.setattr(show, "governance_of", lambda *_: SimpleNamespace(registry=registry))
    result = CliRunner().invoke(show.show, ["digits", "1"], color=True, catch_exceptions=False)
    assert result.output.count(ESCAPED) == 2
    assert all(char.isprintable() or char == "\n" for char in result.output)


def test_tables_fields_and_lines_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=200, color_system="truecolor")
    monkeypatch.setattr(output, "new_console", lambda: console)
    row = {"reason": HOSTILE, "asked": "[bold]x[/] [/y]"}
    show_rows([row], row, False)
    fields, line = printed(show_fields, row, False), printed(show_line, row, False)
    table = stream.getvalue()
    for text in (table, line):
        assert ESCAPED in text
    for text in (table, fields, line):
        assert "[bold]x[/] [/y]" in text
        assert not {"\x9b", "\u202e", "\r"} & set(text)
        assert "\x1b[2A" not in text


def test_audit_readers_escapes_what_readers_asked_for(tmp_path) -> None:
    with running(tmp_path / "state") as harness:
        store = harness.gateway.store
        origin, registry = store.answers.origin, store.registry.log.origin
        harness.logs().GetEntry(GetEntryRequest(origin=registry, index=0), timeout=60)
        stream = AuditServiceStub(harness.channel("auditor")).StreamOpenings
        request = StreamOpeningsRequest(origin=origin, start=0, end=1, values=["[/]", "[bold]"])
        assert list(stream(request, timeout=60))
        told = harness.command("audit", "readers")
        assert told.exit_code == 0, told.exception
        assert json.dumps(["[/]", "[bold]"], separators=(",", ":")) in told.output
