"""What `make bench NAME=serve` prints."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import Target

_console = Console(highlight=False)
_WIDTH = 140
_COLUMNS = ("CPU-ms/answer", "answers/s", "p50 ms", "p99 ms", "PSS MB", "client CPU")


def say(text: str) -> None:
    """How far it is."""
    _console.print(f"[dim]{text}[/dim]")


def show(rows: list[dict[str, Any]], targets: list[Target], notes: dict[str, str]) -> None:
    # Where it goes to a file it has no width of its own.
    console = _console if _console.is_terminal else Console(highlight=False, width=_WIDTH)
    for model in dict.fromkeys(row["model"] for row in rows):
        table = Table(title=f"{model}: medians (least to most)", title_justify="left")
        for name in ("load", "what", *_COLUMNS):
            figures = name in _COLUMNS
            table.add_column(name, justify="right" if figures else "left", no_wrap=not figures)
        for row in rows:
            if row["model"] == model:
                table.add_row(row["load"], row["what"], *_figures(row))
        console.print(table)
    for what, reason in notes.items():
        console.print(f"not measured: {what}: {reason}")
    for target in targets:
        console.print(target.line())


def _figures(row: dict[str, Any]) -> list[str]:
    def spread(name: str, form: str) -> str:
        figure = row[name]
        low, high = format(figure["least"], form), format(figure["most"], form)
        return f"{figure['median']:{form}} ({low} to {high})"

    return [
        spread("cpu_ms", ".3g"),
        spread("rate", ",.0f"),
        f"{row['p50_ms']['median']:.2f}",
        f"{row['p99_ms']['median']:.2f}",
        f"{row['memory_mb']:,.0f}",
        f"{row['client_cpu']:.2f}",
    ]
