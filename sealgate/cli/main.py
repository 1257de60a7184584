"""The `sealgate` command, which loads its subcommands from entry points.

Its commands join by entry point, each from the package that has what it
needs, so the base install shows them all and says which extra brings those it cannot run.
"""

import difflib
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points

import click

from sealgate.cli.output import HelpfulGroup

COMMANDS = "sealgate.commands"


class PluginGroup(HelpfulGroup):
    """A group whose further commands are entry points of the group `joined_by`."""

    joined_by = COMMANDS

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._joined()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = self._joined().get(cmd_name)
        return _load(entry) if entry is not None else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def _joined(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=self.joined_by)}


class DefaultCommandGroup(PluginGroup):
    """A group in which what does not begin with a command's name is for the command `default`."""

    default = ""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        named = args[0] in self.list_commands(ctx)
        return super().resolve_command(ctx, args if named else [self.default, *args])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Its options may come first.
        first = args[0] if args else "--help"
        if first.startswith("-") and first not in ctx.help_option_names:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _load(entry: EntryPoint) -> click.Command:
    try:
        command: click.Command = entry.load()
    except ModuleNotFoundError as error:
        if not entry.extras:
            raise
        return _missing(entry, error.name or "a package")
    return command


def _missing(entry: EntryPoint, module: str) -> click.Command:
    extra = entry.extras[0]

    def explain() -> None:
        raise click.ClickException(
            f"`{entry.name}` needs {module}, which the {extra} extra brings: "
            f"pip install --editable '.[{extra}]' in Sealgate's folder"
        )

    return click.Command(
        entry.name,
        callback=explain,
        help=f"(needs the {extra} extra)",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


def _distribution() -> str:
    """Return the name of the installed distribution: the whole, or only the client."""
    try:
        return str(distribution("sealgate").metadata["Name"])
    except PackageNotFoundError:
        return "sealgate-client"


@click.group(
    cls=PluginGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
\b
Examples:
  sealgate init                       make an installation in ./state
  sealgate serve                      start its gateway
  sealgate --as auditor audit verify  check its logs against the root keys
""",
)
@click.option(
    "--state",
    type=click.Path(file_okay=False),
    default="state",
    envvar="SEALGATE_STATE",
    show_default=True,
    help="The installation's folder.",
)
@click.option(
    "--as",
    "person",
    envvar="SEALGATE_AS",
    help="The profile to use: a folder of STATE/people, or a profile.toml.",
)
@click.version_option(package_name=_distribution())
@click.pass_context
def main(ctx: click.Context, state: str, person: str | None) -> None:
    """A model security and governance gateway.

    Only verified models answer, only screened requests are answered, and every
    answer can be proved.
    """
    ctx.obj = {"state": state, "person": person}


if __name__ == "__main__":
    main()
