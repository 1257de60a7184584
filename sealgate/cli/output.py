"""Output of the command line: tables for people, JSON for programs, and errors in one sentence."""

import errno
import getpass
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import grpc
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sealgate.printable import printable
from sealgate.private_keys import PASSPHRASE_VARIABLE
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import facts_of, reason_name_of, reason_of
from sealgate.settings import ConfigError
from sealgate.trust.receipts.answer_entry import NONE

# The reader of a pipe takes a row a line, however long.
_PIPE_WIDTH = 10_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], as_json: bool) -> None:
    """Prints one row a mapping; in JSON, a list of all their fields.

    Where a terminal is too narrow for a word of the table, as for digests, each row is printed a
    field a line: so that what is copied from it is whole.
    """
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
        return
    names = list(columns)
    console = new_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        # Text, for what others have written may look like markup.
        table.add_row(*(Text(printable(_text(row[name]))) for name in names))
    boundless = console.options.update(width=_PIPE_WIDTH)
    if rows and Measurement.get(console, boundless, table).minimum > console.width:
        for number, row in enumerate(rows):
            if number:
                click.echo()
            show_fields({name: row[name] for name in names}, as_json)
        return
    console.print(table)
    if not rows:
        console.print("none")


def ask_secret(place: str) -> str:
    """Asks for the passphrase or PIN of a key, without showing it.

    Raises like `ask_hidden`.
    """
    return ask_hidden(f"Passphrase or PIN of {place}")


def ask_hidden(text: str, *, twice: bool = False) -> str:
    """Asks on the terminal for what is not to be shown there; `twice` until both are the same.

    Raises SealgateError(KEY_UNREADABLE) where there is no terminal that can hide it.
    """
    try:
        with warnings.catch_warnings():
            # getpass warns where it would show the typed text.
            warnings.simplefilter("error", getpass.GetPassWarning)
            asked = click.prompt(text, hide_input=True, confirmation_prompt=twice, err=True)
    except getpass.GetPassWarning:
        detail = (
            f"{text}: there is no terminal to ask on; {PASSPHRASE_VARIABLE} may name a file with "
            "the passphrase, and pin-source in a URI one with the PIN"
        )
        raise SealgateError(Reason.KEY_UNREADABLE, detail) from None
    return str(asked)


def show_fields(values: Mapping[str, Any], as_json: bool) -> None:
    """Prints one thing, a field a line; of a list or mapping, an item a line, `none` where it is
    empty.
    """
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(len(name) for name in values)
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = [f"{key}: {_text(each)}" for key, each in value.items()]
        items = (value or ["none"]) if isinstance(value, list) else [value]
        lines = [line for item in items for line in _text(item).split("\n")]
        text = "\n".join(map(printable, lines)).rstrip().replace("\n", f"\n{'':<{width}}  ")
        click.echo(f"{name.replace('_', ' '):<{width}}  {text}")


def warn_unscreened(screening: str | None) -> None:
    """Says in red, beside what is printed, that nothing screened an answer or screens a version."""
    if screening == NONE:
        click.secho("NOT SCREENED: nothing looked for adversarial inputs", fg="red", err=True)


def new_console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


json_lines_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document per line, for programs."
)
_WIDTH = 20


def show_line(values: Mapping[str, Any], as_json: bool) -> None:
    """Prints one event: its values in columns, or all of it as one line of JSON."""
    if as_json:
        click.echo(json.dumps(values))
        return
    first, *rest = values.items()
    label = f"{first[0]} {first[1]}"
    columns = (printable(text) for text in (label, *(value for _, value in rest)))
    click.echo("  ".join(f"{text:<{_WIDTH}}" for text in columns).rstrip())


_HINTS = {
    Reason.CALL_FAILED: "is `sealgate serve` running?",
    Reason.LOG_UNKNOWN: "if a newer policy names it, `sealgate policy fetch` gets that policy",
    Reason.STEP_UP: "send the input to somebody who may run `sealgate screen allow`, and ask again "
    "with --allowance",
    Reason.TOKEN_EXPIRED: "`sealgate token NAME` prints another, for the profile's token.jwt",
}


class HelpfulGroup(click.Group):
    """Turns refusals, of our own checks and of the gateway's, into errors with a reason, and wrong
    configurations into errors that say what to change. Documents that are too deep or too large to
    be read are errors, too.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SealgateError as refusal:
            raise _failure(refusal.reason, refusal.detail, refusal.facts) from refusal
        except ConfigError as error:
            raise click.ClickException(str(error)) from error
        except grpc.RpcError as error:
            reason = reason_of(error)
            if reason is not None:
                unknown = reason is Reason.REASON_UNKNOWN
                detail = reason_name_of(error) if unknown else ""
                raise _failure(reason, detail, facts_of(error)) from error
            raise click.ClickException(printable(_unexplained(error))) from error
        except (RecursionError, MemoryError) as error:
            kind = "is nested too deep" if isinstance(error, RecursionError) else "is too large"
            raise click.ClickException(f"what was given or received {kind}") from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            name = printable(error.filename or "a file")
            raise click.ClickException(f"{name}: {error.strerror}") from error


def _failure(reason: Reason, detail: str, facts: Mapping[str, str]) -> click.ClickException:
    hint = _HINTS.get(reason)
    if "roles" in facts:
        named = facts["roles"].replace(", ", " or ")
        hint = f"it takes the role {named}; --as NAME chooses another person"
    detail = "; ".join(text for text in (detail, hint) if text)
    text = f"{reason.name}: {reason.sentence}"
    # It may quote what others wrote.
    return click.ClickException(f"{text} ({printable(detail)})" if detail else text)


def _unexplained(error: grpc.RpcError) -> str:
    """Describe calls that failed before the gateway could give a reason."""
    if isinstance(error, grpc.Call):
        code = error.code()
        if code is grpc.StatusCode.UNAVAILABLE:
            return f"no gateway answers; is `sealgate serve` running? ({error.details()})"
        return f"{code.name}: {error.details()}"
    return str(error)
