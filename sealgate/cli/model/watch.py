"""`sealgate model watch`: follows changes of the registry."""

from contextlib import suppress
from typing import Any

import click

from sealgate.cli.context import connected, profile
from sealgate.cli.output import json_lines_option, show_line
from sealgate.remote.calls import follow
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_PREFIX = "CHANGE_KIND_"
_KINDS = {
    name.removeprefix(_PREFIX).lower().replace("_", "-"): name
    for name, number in messages.ChangeKind.items()
    if number
}
_WORDS = {messages.ChangeKind.Value(name): word for word, name in _KINDS.items()}
_TOLD = {
    "pointer": ("action", "version", "sequence", "digest", "reason"),
    "version": ("digest", "revocation_reason"),
    "proposal": ("digest",),
}


@click.command(
    epilog="""
\b
Examples:
  sealgate model watch                             every change, from now on
  sealgate model watch digits --kind pointer-moved
  sealgate model watch --from 0 --json             all that ever happened, then what comes
"""
)
@click.argument("name", required=False)
@click.option("--kind", "kinds", multiple=True, type=click.Choice(list(_KINDS)))
@click.option("--from", "start", type=click.IntRange(0), help="The first log entry to show.")
@json_lines_option
@click.pass_context
def watch(
    ctx: click.Context, name: str | None, kinds: tuple[str, ...], start: int | None, as_json: bool
) -> None:
    """Show changes of the model NAME, or of all models, until interrupted.

    A broken connection is resumed where it ended. Each line begins with the change's index in the
    registry's log; to continue after it, pass --from with that index plus one.
    """
    person = profile(ctx, "auditor")
    with connected(person) as channel:
        registry = RegistryServiceStub(channel)

        def stream(at: int | None, seconds: float) -> Any:
            request = messages.WatchChangesRequest(
                model=name, kinds=[_KINDS[kind] for kind in kinds], start=at
            )
            return registry.WatchChanges(request, timeout=seconds)

        with suppress(KeyboardInterrupt):
            for message in follow(stream, _after, start):
                if message.HasField("change"):
                    show_line(_told(message.change), as_json)


def _after(message: messages.WatchChangesResponse) -> int:
    return message.next


def _told(change: messages.Change) -> dict[str, Any]:
    kind = _WORDS.get(change.kind, str(change.kind))
    told: dict[str, Any] = {"index": change.index, "time": change.time, "kind": kind}
    told |= {"subject": change.subject, "principal": change.principal}
    payload = change.WhichOneof("payload")
    if payload in _TOLD:
        record = getattr(change, payload)
        told |= {field: value for field in _TOLD[payload] if (value := getattr(record, field))}
    return told
