"""`python -m demo.llm`: fetches a real language model once, and plays its way to production.

With a folder given, it plays that with another model.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

import grpc

from demo.llm import model
from demo.llm.stage import GeneratorStage
from demo.llm.story import ask, install, promote, prove, publish
from demo.stage import StepFailed
from sealgate.reasons import SealgateError

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_BUILD = _ROOT / "build" / "llm"
_LIBRARY = _ROOT / ".venv-llm" / "packages"
_PROMPTS = _HERE / "prompts.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="A model in Hugging Face's layout.")
    parser.add_argument("--precision", choices=("float32", "int8"), default="int8")
    parser.add_argument("--state", type=Path, default=_BUILD / "state")
    parser.add_argument("--keep", action="store_true", help="Leave the state, 1.3 GB, where it is.")
    given = parser.parse_args()
    shutil.rmtree(given.state, ignore_errors=True)
    stage = GeneratorStage(given.state)
    began = time.monotonic()
    try:
        folder = _material(stage, given.folder)
        install(stage)
        publish(stage, folder, _PROMPTS, given.precision)
        promote(stage)
        ask(stage)
        prove(stage)
    except model.Unobtainable as error:
        stage.console.print(f"Skipped: the model cannot be had here ({error}).")
        return 0
    except (StepFailed, TimeoutError, grpc.RpcError, SealgateError) as error:
        stage.check("the story", False, str(error))
    finally:
        stage.stop_gateway()
        stage.stop_generator()
    held = stage.show_table()
    # Of what did not hold, there is something to see.
    if held and not given.keep:
        shutil.rmtree(given.state)
    left = f"everything is in {given.state}" if given.state.exists() else "nothing is left of it"
    stage.console.print(f"{time.monotonic() - began:.0f} seconds; {left}")
    return 0 if held else 1


def _material(stage: GeneratorStage, folder: Path | None) -> Path:
    """The model's folder. Raises: Unobtainable, StepFailed."""
    stage.title("1. Get a model: packages as mere files, one digest, a conversion apart")
    _BUILD.mkdir(parents=True, exist_ok=True)
    found = folder or model.obtain(_BUILD, _LIBRARY, stage.say)
    weights = [*found.glob("*.safetensors")]
    stage.check("a model", bool(weights), f"{len(weights)} files of weights in {found}")
    return found


if __name__ == "__main__":
    sys.exit(main())
