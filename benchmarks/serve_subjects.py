"""The models of `make bench NAME=serve`, each with those that serve it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file, save_file

from benchmarks import contenders, governed, served
from benchmarks.contenders import Contender
from benchmarks.governed import Installed, install
from benchmarks.serve_targets import GRPCIO, OURS, STAGED, WHOLE
from demo.materials import DATA, MODELS
from gateway.transport.native import is_available

_SPAM = Path("build/bench/spam-32")
# Written by training with `--tokens`; see the Makefile.
_SPAM_DATA = _SPAM / "spam.safetensors"
# Rows of a slice that publishing is given: it screens those of calibration three times.
_MOST = {"calibration": 400, "test": 300}
# Both run the model for minutes.
_PATIENCE = ("--seconds", "1800")
_TRIES = 4


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model, whom it is measured with, and the installations that serve it governed. A turn
    lasts `least_seconds` at least.
    """

    model: served.Served
    contenders: tuple[Contender, ...]
    installed: tuple[Installed, ...] = ()
    least_seconds: float = 0.0


def _digits(folder: Path) -> ServedModel:
    """Installed twice: with each transport."""
    paths = MODELS / "digits-standard", DATA / "digits.safetensors"
    installed = tuple(
        governed.install(folder / transport, name, *paths, transport=transport)
        for name, transport in ((OURS, "native"), (GRPCIO, "grpcio"))
        if transport != "native" or is_available()
    )
    model = served.digits(installed[0].graph(), folder)
    return ServedModel(model, contenders.ALL, installed)


def _minilm(folder: Path) -> ServedModel | str:
    found = served.minilm_folder()
    return found if isinstance(found, str) else ServedModel(served.minilm(found), contenders.ALL)


def _spam(folder: Path) -> ServedModel | str:
    """MiniLM with a head trained on real e-mails, rows of 32 tokens; installed twice, side by side:
    as publishing decides, which is with two stages of screening, and with the response graph on
    every request.
    """
    if not _SPAM_DATA.exists():
        return f"make {_SPAM_DATA} makes it"
    slices = load_file(_SPAM_DATA)
    for name, most in _MOST.items():
        slices |= {f"{of}_{name}": slices[f"{of}_{name}"][:most] for of in "xy"}
    data = folder / "spam.safetensors"
    save_file(slices, data)
    model, options = _SPAM / "spam", (*_PATIENCE, "--no-first-stage")
    with ThreadPoolExecutor() as pool:
        staged = pool.submit(_staged, folder, model, data)
        whole = pool.submit(install, folder / "whole", WHOLE, model, data, *options)
        found = staged.result(), whole.result()
    measured = served.spam(found[0].graph(), _SPAM_DATA, folder)
    # A batch through the graph takes more than half a second.
    return ServedModel(measured, contenders.PEERS, found, least_seconds=3.0)


def _staged(folder: Path, model: Path, data: Path) -> Installed:
    """With a first stage: what one loses lies so near what it may lose that the draw of attacks
    decides. After `_TRIES` as publishing decided last.
    """
    for place in range(_TRIES):
        found = install(folder / f"staged-{place}", STAGED, model, data, *_PATIENCE)
        if found.stages()["first_stage"]:
            break
        print(f"publishing {place + 1} took no first stage: {found.stages()}", flush=True)
    return found


SUBJECTS: dict[str, Callable[[Path], ServedModel | str]] = {
    "digits": _digits,
    "minilm": _minilm,
    "spam": _spam,
}
"""By name: makes one, given a folder for what it needs, or says why it cannot be made."""
