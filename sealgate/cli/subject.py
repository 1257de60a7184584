"""`sealgate subject`: erases the records about a person."""

from datetime import UTC, datetime

import click

from sealgate.audit.reader import AuditReader
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import HelpfulGroup, json_option, show_rows
from sealgate.remote.calls import list_all, send
from sealgate.trust.receipts.answer_entry import is_pseudonym
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub


@click.group("subject", cls=HelpfulGroup)
def subject() -> None:
    """Erase the person whom answers are about, and prove that it was done."""


@subject.command(epilog="\b\nExample:\n  sealgate subject erase patient-4711 --yes")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation. Erasing can't be undone.")
@json_option
@click.pass_context
def erase(ctx: click.Context, name: str, yes: bool, as_json: bool) -> None:
    """Erase NAME, a request's `subject` or a caller's name, from this gateway's answers.

    Its key is destroyed, so its entries can't be opened any more. The logs still verify, and
    existing receipts still prove what they say. The registry's log records the erasure without the
    name. Other gateways have their own keys and answers: erase NAME there too.
    """
    person = profile(ctx, "admin")
    if not yes:
        click.confirm(f"Erase {name!r} for good?", abort=True, err=True)
    rows = []
    with connected(person) as channel:
        policy = policy_history(person, channel)[-1]
        stub = LogServiceStub(channel)
        for origin in list_all(stub.ListLogs, messages.ListLogsRequest(), "origins"):
            if policy.is_answer_log(origin):
                request = messages.EraseSubjectRequest(origin=origin, subject=name)
                found = send(stub.EraseSubject, request)
                rows.append({"log": origin, "entries": found.entries, "pseudonym": found.pseudonym})
    show_rows(rows, ("log", "entries", "pseudonym"), as_json)


@subject.command(epilog="\b\nExample:\n  sealgate subject erased patient-4711")
@click.argument("name")
@json_option
@click.pass_context
def erased(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show when NAME was erased, and from which answer logs; for auditors.

    The registry's log is read from its first entry to its signed root. It identifies each erasure
    by a slow, salted hash, so only someone who knows the name finds it.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        policy = policy_history(person, channel)[-1]
        reader = AuditReader(channel, policy, lambda: datetime.now(UTC))
        rows = [
            {"log": e.subject.removeprefix("logs/"), "time": e.time, "entry": e.index}
            for e in reader.records()
            if e.event == "subject.erased" and is_pseudonym(str(e.body["pseudonym"]), name)
        ]
    show_rows(rows, ("log", "time", "entry"), as_json)
