"""`sealgate model attach`: evidence that comes after its version, such as a red team's report."""

from pathlib import Path

import click

from sealgate.cli.governing import governance_of
from sealgate.cli.output import json_option, show_fields
from sealgate.cli.people import connected, profile
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence


@click.command(
    epilog="\b\nExample:\n  sealgate --as approver-1 model attach digits 2 red-team.json"
)
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_context
def attach(ctx: click.Context, name: str, version: int, file: Path, as_json: bool) -> None:
    """Attach FILE, evidence that you have signed, to VERSION of the model NAME, for good.

    It is what `sealgate attack --output` writes. Whoever is asked to approve the version is shown
    it from then on; the registry's log says when it came.
    """
    person = profile(ctx, "approver-1")
    data = file.read_bytes()
    with connected(person) as channel:
        found = governance_of(person, channel).attach(name, version, data)
    item = Evidence.decode(Envelope.decode(data).payload)
    show_fields(
        {"version": found.name, "attached": item.kind, "items": len(found.attached)}, as_json
    )
