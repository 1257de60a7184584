"""The models of `make bench NAME=serve`, each with those that serve it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import contenders, governed, served, spam
from benchmarks.contenders import Contender
from benchmarks.governed import Installed
from benchmarks.serve_targets import OURS
from demo.materials import DATA, MODELS


@dataclass(frozen=True, slots=True)
class Subject:
    """A model, whom it is measured with, and the installations that serve it governed; `engine`:
    whether an engine alone serves it too. A turn lasts `least_seconds` at least.
    """

    model: served.Served
    contenders: tuple[Contender, ...]
    installed: tuple[Installed, ...] = ()
    engine: bool = False
    least_seconds: float = 0.0


def _digits(folder: Path) -> Subject:
    paths = MODELS / "digits-1", DATA / "digits.safetensors"
    installed = governed.install(folder / "digits", OURS, *paths)
    model = served.digits(installed.graph(), folder)
    return Subject(model, contenders.ALL, (installed,), engine=True)


def _minilm(folder: Path) -> Subject | str:
    found = served.minilm_folder()
    return found if isinstance(found, str) else Subject(served.minilm(found), contenders.ALL)


def _spam(folder: Path) -> Subject | str:
    found = spam.installed(folder)
    if isinstance(found, str):
        return found
    model = served.spam(found[0].graph(), spam.DATA, folder)
    # A batch through the graph takes more than half a second.
    return Subject(model, contenders.PEERS, found, least_seconds=3.0)


SUBJECTS: dict[str, Callable[[Path], Subject | str]] = {
    "digits": _digits,
    "minilm": _minilm,
    "spam": _spam,
}
"""By name: makes one, given a folder for what it needs, or says why it cannot be made."""
