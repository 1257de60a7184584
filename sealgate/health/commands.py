"""`sealgate health`: checks a gateway as one of its callers."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from sealgate.cli.context import profile, profile_of
from sealgate.cli.options import FILE
from sealgate.cli.output import json_option, show_fields, show_rows
from sealgate.health import findings
from sealgate.health.check import HealthOptions, check
from sealgate.health.findings import UNASKED, CheckState, HealthFinding, exit_status
from sealgate.reasons import SealgateError
from sealgate.trust.policy import DEFAULT_ALIAS

_COLUMNS = ("check", "subject", "state", "detail")


@click.command(
    epilog="""
\b
Examples:
  sealgate health
  sealgate health digits digits/canary --json
  sealgate health --textfile /var/lib/prometheus/node-exporter/sealgate.prom
  sealgate health --rollback-as /etc/sealgate/rollback/profile.toml
"""
)
@click.argument("places", nargs=-1, metavar="[MODEL[/ALIAS]]...")
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="Golden inputs to send for each version.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=1e-5,
    show_default=True,
    help="Accepted deviation of answers, absolute and relative: as [runtime] tolerance, if set.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Time limit of each answer, in seconds.",
)
@click.option(
    "--days",
    type=click.IntRange(0),
    default=7,
    show_default=True,
    help="Days for which certificates and policy must still be valid.",
)
@click.option(
    "--textfile", "file", type=FILE, help="A file of metrics for Prometheus' textfile collector."
)
@click.option(
    "--rollback-as",
    "service",
    help="The service that rolls back an alias whose golden answers keep differing.",
)
@json_option
@click.pass_context
def health(
    ctx: click.Context,
    places: tuple[str, ...],
    rows: int,
    tolerance: float,
    timeout: float,
    days: int,
    file: Path | None,
    service: str | None,
    as_json: bool,
) -> None:
    """Send golden inputs to every alias, or to those named, and compare the answers.

    It also checks gRPC's health service, the validity of freshness and policy, and the certificates
    of both ends. The exit status is 0 if all is well, 1 if something is wrong, and 2 if something
    could not be checked (or the command was given wrongly).
    """
    wanted = HealthOptions(tuple(map(_place, places)), rows, tolerance, timeout, days)
    with _nothing_asked():
        person = profile(ctx, "monitor")
        returns = profile_of(ctx, service) if service is not None else None
        found = check(person, wanted, returns)
    if file is not None:
        found += _written(file, found)
    _show(found, as_json)
    ctx.exit(exit_status(found))


class _NothingAsked(click.ClickException):
    exit_code = UNASKED


@contextmanager
def _nothing_asked() -> Iterator[None]:
    """Exit with status 2: an error on this machine says nothing about the gateway."""
    try:
        yield
    except (click.ClickException, OSError, SealgateError) as error:
        said = error.message if isinstance(error, click.ClickException) else str(error)
        raise _NothingAsked(said) from error


def _written(file: Path, found: Sequence[HealthFinding]) -> list[HealthFinding]:
    """Write the metrics file; return an error text, or nothing once it is written. The findings
    stay as they are.
    """
    try:
        findings.write_textfile(file, found, time.time())
    except OSError as error:
        detail = f"cannot be written: {error.strerror}"
        return [HealthFinding("textfile", str(file), CheckState.UNASKED, detail)]
    return []


def _place(text: str) -> tuple[str, str]:
    model, _, alias = text.partition("/")
    return model, alias or DEFAULT_ALIAS


def _show(found: Sequence[HealthFinding], as_json: bool) -> None:
    rows = [
        {"check": each.check, "subject": each.subject, "state": each.state.value}
        | {"detail": each.detail}
        | ({"labels": dict(each.labels), "numbers": dict(each.numbers)} if as_json else {})
        for each in found
    ]
    if as_json:
        show_fields({"status": exit_status(found), "findings": rows}, as_json)
    else:
        show_rows(rows, _COLUMNS, as_json)
