"""The classifier of e-mails, governed: MiniLM with a head trained on real ones, rows of 32 tokens.

It is published twice, in installations of their own: as publishing decides, which is with two
stages of screening, and with the response graph on every request.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from safetensors.numpy import load_file, save_file

from benchmarks.governed import Installed, install
from benchmarks.serve_targets import STAGED, WHOLE

FOLDER = Path("build/bench/spam-32")
DATA = FOLDER / "spam.safetensors"
"""Written by training with `--tokens`; see the Makefile."""
# Rows of a slice that publishing is given: it screens those of calibration three times.
_MOST = {"calibration": 400, "test": 300}
# Both run the model for minutes.
_PATIENCE = ("--seconds", "1800")


def installed(folder: Path) -> tuple[Installed, Installed] | str:
    """The two, made side by side; or why they cannot be."""
    if not DATA.exists():
        return f"make {DATA} makes it"
    slices = load_file(DATA)
    for name, most in _MOST.items():
        slices |= {f"{of}_{name}": slices[f"{of}_{name}"][:most] for of in "xy"}
    data = folder / "spam.safetensors"
    save_file(slices, data)
    model = FOLDER / "spam"
    with ThreadPoolExecutor() as pool:
        staged = pool.submit(install, folder / "staged", STAGED, model, data, *_PATIENCE)
        options = (*_PATIENCE, "--no-first-stage")
        whole = pool.submit(install, folder / "whole", WHOLE, model, data, *options)
        return staged.result(), whole.result()
