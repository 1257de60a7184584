"""Takes over the prompt classifier of `make demo-llm`: `python -m demo.llm.guard RUN`.

RUN is what `sealgate train demo/recipes/prompt-guard-small.toml --out RUN` left. Its model goes to
demo/models/prompt-guard, and of its rows as many to demo/data/prompt-guard.safetensors as
publishing needs: it screens rows for minutes, and no claim of the demo depends on how many.
"""

import shutil
import sys
from pathlib import Path

from safetensors.numpy import load_file, save_file

_NAME = "prompt-guard"
_DEMO = Path(__file__).parents[2] / "demo"
# By what follows "x_" or "y_" in the names of slices.
_MOST = {"fit": 200, "calibration": 300, "test": 100}


def take_over(run: Path, demo: Path) -> None:
    """Replaces model and rows below `demo` by those of a finished run."""
    model = demo / "models" / _NAME
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(run / "model", model)
    rows = load_file(run / "data.safetensors")
    fewer = {name: array[: _MOST.get(name[2:])] for name, array in rows.items()}
    save_file(fewer, demo / "data" / f"{_NAME}.safetensors")


if __name__ == "__main__":
    take_over(Path(sys.argv[1]), _DEMO)
