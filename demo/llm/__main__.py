"""`python -m demo.llm`: fetches a real language model once, and plays its way to production.

With a folder given, it plays that with another model.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc

from demo.llm import model
from demo.llm.stage import GeneratorStage
from demo.llm.story import (
    ask_again,
    ask_freely,
    install,
    promote,
    prove,
    publish,
    set_rules,
)
from demo.stage import StepFailed
from sealgate.reasons import SealgateError

_HERE = Path(__file__).parent
_PROMPTS = _HERE / "prompts.json"
_DOWNLOAD = "Get a model: packages as mere files, and one digest"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="A model in Hugging Face's layout.")
    precisions = ("float32", "int8", "int8-integer")
    parser.add_argument("--precision", choices=precisions, default="int8-integer")
    parser.add_argument("--state", type=Path, default=model.BUILD / "state")
    parser.add_argument("--keep", action="store_true", help="Leave the state, 1.3 GB, where it is.")
    given = parser.parse_args()
    shutil.rmtree(given.state, ignore_errors=True)
    stage = GeneratorStage(given.state)
    took: dict[str, float] = {}
    try:
        _play(stage, given.folder, given.precision, took)
    except model.Unobtainable as error:
        stage.console.print(f"Skipped: the model cannot be had here ({error}).")
        return 0
    except (StepFailed, TimeoutError, grpc.RpcError, SealgateError) as error:
        stage.check("the story", False, str(error))
    finally:
        stage.stop_gateway()
        stage.stop_generator()
    held = stage.show_table()
    _show_times(stage, took)
    # Of what did not hold, there is something to see.
    if held and not given.keep:
        shutil.rmtree(given.state)
    left = f"everything is in {given.state}" if given.state.exists() else "nothing is left of it"
    stage.console.print(left)
    return 0 if held else 1


def _play(
    stage: GeneratorStage, folder: Path | None, precision: str, took: dict[str, float]
) -> None:
    """Plays each step; `took` gets the seconds of each. Raises: Unobtainable; what steps raise."""
    found: list[Path] = [folder] if folder else []
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        (_DOWNLOAD, lambda: None if folder else model.download(model.BUILD, stage.say)),
        ("Convert it, by a process of its own", lambda: found.append(_converted(stage, found))),
        ("Make an installation with a process that generates", lambda: install(stage)),
        (
            "Publish it and a prompt classifier: commit, mark, measure, calibrate, sign, register",
            lambda: publish(stage, found[-1], _PROMPTS, precision),
        ),
        ("Propose, approve twice, promote", lambda: promote(stage)),
        ("Ask, while the policy has no rules for it", lambda: ask_freely(stage)),
        ("Let the policy screen prompts and answers", lambda: set_rules(stage)),
        ("Ask again: injected, optimised, and for a secret", lambda: ask_again(stage)),
        ("Prove: replay an answer, verify logs and receipts", lambda: prove(stage)),
    )
    for number, (title, step) in enumerate(steps, 1):
        stage.title(f"{number}. {title}")
        began = time.monotonic()
        step()
        took[title] = time.monotonic() - began
        stage.note(f"took {took[title]:.0f} s")


def _converted(stage: GeneratorStage, found: Sequence[Path]) -> Path:
    """The model's folder. Raises: Unobtainable, StepFailed."""
    made = found[0] if found else model.convert(model.BUILD, model.LIBRARY, stage.say)
    weights = [*made.glob("*.safetensors")]
    stage.check("a model", bool(weights), f"{len(weights)} files of weights in {made}")
    return made


def _show_times(stage: GeneratorStage, took: Mapping[str, float]) -> None:
    after = sum(seconds for title, seconds in took.items() if title != _DOWNLOAD)
    for title, seconds in took.items():
        stage.note(f"{seconds:4.0f} s  {title}")
    stage.note(f"{after:4.0f} s  in all, after the download")


if __name__ == "__main__":
    sys.exit(main())
