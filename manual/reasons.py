"""Writes docs/reference/reasons.md: every reason for a refusal, from `sealgate.reasons`."""

import inspect
import re
from collections.abc import Iterator

from gateway.transport.http import bodies as http
from manual.advice import advice
from sealgate.reasons import Reason
from sealgate.remote.errors import DOMAIN, STATUS

_HEAD = f"""\
# Why a call is refused

Generated from the code (`make docs`); a test holds this page against it.

Each refusal has one reason of this fixed list, in a `google.rpc.ErrorInfo` of the domain \
`{DOMAIN}` in the status's details; the status's message is the sentence below. Go by the reason, \
not by the sentence. What a caller needs to go on is in the `metadata` of the `ErrorInfo`; with \
`RESOURCE_EXHAUSTED` comes a `google.rpc.RetryInfo`. A refusal of an inference request that was \
recorded has its receipt in the trailing metadata `sealgate-receipt-bin`. Over \
[HTTP](../how-to/http.md) the same is in a JSON body. Some of these reasons are raised by our own \
commands and client, as exceptions of the same names.
"""
_HEADING = re.compile(r"^    # (.+)$")
_MEMBER = re.compile(r"^    ([A-Z][A-Z0-9_]*) = \(")


def page() -> str:
    """The whole page, as Markdown."""
    parts = [_HEAD]
    for heading, reasons in groups():
        rows = [
            f"| `{reason.name}` | `{STATUS[reason.kind].name}` | {http.STATUS[reason.kind]} "
            f"| {reason.sentence} | {advice(reason)} |"
            for reason in reasons
        ]
        head = [
            "| reason | gRPC status | HTTP | what it means | what to do |",
            "|---|---|---|---|---|",
        ]
        parts += [f"## {heading[0].upper()}{heading[1:]}\n", "\n".join([*head, *rows]), ""]
    return "\n".join(parts)


def groups() -> Iterator[tuple[str, list[Reason]]]:
    """The reasons below each comment of the list, in its order."""
    heading, members = "reasons", list[Reason]()
    for line in inspect.getsource(Reason).splitlines():
        if found := _HEADING.match(line):
            if members:
                yield heading, members
            heading, members = found[1], []
        elif found := _MEMBER.match(line):
            members.append(Reason[found[1]])
    if members:
        yield heading, members
