"""`--alias`, as commands have it that are about one pointer."""

import click

alias_option = click.option(
    "--alias", default="production", show_default=True, help="Which pointer is meant."
)
