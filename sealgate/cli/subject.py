"""`sealgate subject`: erases the records about a person."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import click
import grpc

from sealgate.audit import AuditReader
from sealgate.cli.context import connected, policy_history, profile
from sealgate.cli.output import HelpfulGroup, json_option, show_rows
from sealgate.remote.calls import list_all, send
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import is_pseudonym
from sealgate.trust.transparency import origin_of
from sealgate.v1 import log_pb2 as messages
from sealgate.v1.log_pb2_grpc import LogServiceStub

_LEFT = "left: name its gateway with --gateway"
_NOT_ALL = 3
"""The exit status where an answer log of the policy has not confirmed an erasure."""


@click.group("subject", cls=HelpfulGroup)
def subject() -> None:
    """Erase the person whom answers are about, and prove that it was done."""


@subject.command(
    epilog="\b\nExamples:\n  sealgate subject erase patient-4711 --yes\n"
    "  sealgate subject erase patient-4711 --gateway gateway-2.example:8444"
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation. Erasing can't be undone.")
@click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="HOST:PORT",
    help="Another gateway of the same registry to erase from; may be repeated.",
)
@json_option
@click.pass_context
def erase(
    ctx: click.Context, name: str, yes: bool, gateways: tuple[str, ...], as_json: bool
) -> None:
    """Erase NAME, a request's `subject` or a caller's name, from the gateways' answers.

    Its key is destroyed, so its entries can't be opened any more. The logs still verify, and
    existing receipts still prove what they say. The registry's log records the erasure without the
    name. Each gateway has its own keys and answers. The erasure is complete once the gateway of
    every answer log that the policy names has confirmed it; until then the output names the logs
    that are left, and the exit status is 3. Repeating it is harmless.
    """
    person = profile(ctx, "admin")
    if not yes:
        click.confirm(f"Erase {name!r} for good?", abort=True, err=True)
    found: dict[str, dict[str, object]] = {}
    with ExitStack() as stack:
        people = (person, *(replace(person, endpoint=address) for address in gateways))
        channels = [stack.enter_context(connected(each)) for each in people]
        policy = policy_history(person, channels[0])[-1]
        for channel in channels:
            found |= _erased(channel, policy, name)
    names = [origin_of(vkey) for vkey in policy.answer_logs]
    left = {"entries": "", "pseudonym": "", "state": _LEFT}
    rows = [{"log": origin, **found.get(origin, left)} for origin in names]
    show_rows(rows, ("log", "state", "entries", "pseudonym"), as_json)
    if len(found) < len(names):
        ctx.exit(_NOT_ALL)


def _erased(channel: grpc.Channel, policy: Policy, name: str) -> dict[str, dict[str, object]]:
    """Erase a subject from the answer log of one gateway, by its origin."""
    stub, found = LogServiceStub(channel), {}
    for origin in list_all(stub.ListLogs, messages.ListLogsRequest(), "origins"):
        if policy.is_answer_log(origin):
            request = messages.EraseSubjectRequest(origin=origin, subject=name)
            told = send(stub.EraseSubject, request)
            about = {"entries": told.entries, "pseudonym": told.pseudonym}
            found[origin] = {**about, "state": "confirmed"}
    return found


@subject.command(epilog="\b\nExample:\n  sealgate subject erased patient-4711")
@click.argument("name")
@json_option
@click.pass_context
def erased(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show when NAME was erased, and from which answer logs; for auditors.

    The registry's log is read from its first entry to its signed root. It identifies each erasure
    by a slow, salted hash, so only someone who knows the name finds it. Answer logs of the policy
    that have not confirmed it are listed as left, and the exit status is 3; where none has, NAME
    was not erased.
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
    done = {row["log"] for row in rows}
    names = [origin_of(vkey) for vkey in policy.answer_logs]
    left = [origin for origin in names if done and origin not in done]
    rows += [{"log": origin, "time": _LEFT, "entry": ""} for origin in left]
    show_rows(rows, ("log", "time", "entry"), as_json)
    if left:
        ctx.exit(_NOT_ALL)
