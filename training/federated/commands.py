"""`sealgate federate`: federated training with secure aggregation."""

import importlib.util
import ipaddress
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from sealgate.cli.main import DefaultCommandGroup
from sealgate.cli.options import EXISTING_FILE, FOLDER
from sealgate.cli.output import json_option, show_fields

if TYPE_CHECKING:
    from training.federated.federation import Federation
    from training.federated.remote import ServerPlace

for _module in ("torch", "sklearn", "onnxscript", "opacus", "flwr"):
    if importlib.util.find_spec(_module) is None:
        raise ModuleNotFoundError(f"No module named {_module!r}", name=_module)

_out = click.option("--out", required=True, type=FOLDER, help="The folder to make; must be new.")
_LARGEST_INVITATION = 1 << 21


class FederateGroup(DefaultCommandGroup):
    """A recipe without the name of a command is run on this machine."""

    joined_by = "sealgate.commands.federate"
    default = "run"


@click.group(cls=FederateGroup)
def federate() -> None:
    """Train with clients that each keep their rows: secure sums, and a rule against poisoners.

    `sealgate federate RECIPE` is `sealgate federate run RECIPE`.
    """


@federate.command(
    epilog="""
\b
Example:
  sealgate federate demo/recipes/digits-federated.toml --out made/federated
  sealgate model publish made/federated/model --data made/federated/data.safetensors
"""
)
@click.argument("recipe", type=EXISTING_FILE)
@_out
@json_option
def run(recipe: Path, out: Path, as_json: bool) -> None:
    """Train with server and clients as processes of this machine, for trials.

    OUT gets what `sealgate train` writes.
    """
    from training.federated.federation import Federation

    _make(Federation(recipe, out, _tell), as_json)


@federate.command(
    epilog="""
\b
Example:
  sealgate federate server recipe.toml --out made/federated \\
    --listen 0.0.0.0:8443 --address federation.example:8443
"""
)
@click.argument("recipe", type=EXISTING_FILE)
@_out
@click.option("--listen", required=True, help="HOST:PORT to listen on; port 0 is a free one.")
@click.option("--address", help="HOST:PORT where clients reach it, if not --listen.")
@click.option(
    "--minutes",
    default=60,
    show_default=True,
    type=click.IntRange(1, 7 * 24 * 60),
    help="Minutes for which invitations are valid and clients are awaited.",
)
@click.option("--certificate", type=EXISTING_FILE, help="PEM, for the host of --address.")
@click.option("--key", type=EXISTING_FILE, help="The certificate's key, PEM.")
@click.option("--authority", type=EXISTING_FILE, help="The authority that vouches for it, PEM.")
@json_option
def server(
    recipe: Path,
    out: Path,
    listen: str,
    address: str | None,
    minutes: int,
    as_json: bool,
    **own: Path | None,
) -> None:
    """Train with clients on other machines, which `sealgate federate join`.

    For each client it writes OUT/run/invitations/client-NNN.json, which holds a one-time token:
    hand it to that client alone. Without a certificate it makes one, of an authority of this run.
    OUT gets what `sealgate train` writes.
    """
    from training.federated.remote import RemoteFederation

    place = _place(listen, address, timedelta(minutes=minutes), own)
    _make(RemoteFederation(recipe, out, _tell, place), as_json)


@federate.command(
    epilog="""
\b
Example:
  sealgate federate join client-003.json --data rows.safetensors
"""
)
@click.argument("invitation", type=EXISTING_FILE)
@click.option(
    "--data", required=True, type=EXISTING_FILE, help="Your rows, safetensors: x float32, y int64."
)
@json_option
def join(invitation: Path, data: Path, as_json: bool) -> None:
    """Take part in a federation with rows that stay here.

    INVITATION is the file that the server's operator gave you; it can be used once. The command
    ends with the run; a client that ended before cannot come back into it.
    """
    with TemporaryDirectory() as home:
        from training.federated.launch import flower_environment

        os.environ.update(flower_environment(Path(home)))
        from sealgate.files import read_regular_file
        from training.federated import join as joining
        from training.federated.enrolment import FederationInvitation

        found = FederationInvitation.decode(read_regular_file(invitation, _LARGEST_INVITATION))
        done = joining.join(found, data, _tell)
    shown: dict[str, Any] = {"rounds": done.rounds, "weights": done.weights}
    if done.spent is not None:
        shown["epsilon"] = round(float(done.spent["epsilon"]), 3)
    show_fields(shown, as_json)


@federate.command(
    epilog="""
\b
Example:
  sealgate federate deal demo/recipes/digits-federated.toml --out made/rows
"""
)
@click.argument("recipe", type=EXISTING_FILE)
@_out
@json_option
def deal(recipe: Path, out: Path, as_json: bool) -> None:
    """Deal a recipe's train slice into a file of rows for each client, to try `join` with."""
    from training.federated.federation import Federation

    files = Federation(recipe, out, _tell).write_shards()
    show_fields({"files": [str(file) for file in files]}, as_json)


def _make(federation: "Federation", as_json: bool) -> None:
    # Clean up on SIGTERM too: the folder holds clients' rows and keys.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    made = federation.make()
    report = made.report
    shown = {
        "model": str(made.model),
        "data": str(made.data),
        "accuracy": round(report["accuracy"], 4),
        "calibration_error": round(report["reliability"]["error"], 4),
        "clients": report["federated"]["clients"],
        "rounds": len(report["federated"]["rounds"]),
    }
    if report["privacy"]:
        shown["epsilon"] = round(report["privacy"]["epsilon"], 3)
    show_fields(shown, as_json)


def _place(
    listen: str, address: str | None, good_for: timedelta, own: dict[str, Path | None]
) -> "ServerPlace":
    from sealgate.setup.credentials import Certificate
    from training.federated.remote import ServerPlace

    host, port = _host_port("--listen", listen)
    files = [own[name] for name in ("certificate", "key", "authority")]
    if any(files) and not all(files):
        raise click.UsageError("--certificate, --key and --authority go together")
    given = [file.read_bytes() for file in files if file is not None]
    if address is None and _is_everywhere(host):
        raise click.UsageError("--address says where clients reach a server on all addresses")
    _host_port("--address", address or listen)
    credentials = (Certificate(given[0], given[1]), given[2]) if given else None
    return ServerPlace(host, port, address or listen, good_for, credentials)


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _host_port(option: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 1 << 16:
        raise click.UsageError(f"{option} is HOST:PORT")
    return host.strip("[]"), int(port)


def _tell(step: str, news: object) -> None:
    click.echo(f"{step:<12} {news}", err=True)
