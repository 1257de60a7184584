"""The process that atheris runs in: `python -m tests.fuzz.child MODULE TARGET PROGRAM OPTIONS`.

PROGRAM is what libFuzzer starts to run this again, OPTIONS are its own. With `--each` and a JSON
object for TARGET, several targets are run, one after another: to instrument what they import takes
longer than a short run. The object gives for each the file that its output goes to and its options;
what is printed is the exit code of each.

It instruments our own packages as they are imported, so it imports nothing of them before, and of
the harnesses' modules the target's alone.
"""

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["sealgate", "registry", "inference", "gateway"]):
    module: Any = importlib.import_module(sys.argv.pop(1))


def fuzz(target: str, words: list[str]) -> None:
    """Run the program and options `words`. libFuzzer ends the process."""
    harness = next(each for each in module.HARNESSES if each.name == target)
    atheris.Setup(words, harness.run)
    atheris.Fuzz()


def fuzz_each(targets: dict[str, list[str]]) -> dict[str, int]:
    """The exit codes of all, each run in a process of its own that has all imports already."""
    codes = dict[str, int]()
    for target, (output, *options) in targets.items():
        child = os.fork()
        if not child:
            with Path(output).open("wb") as file:
                os.dup2(file.fileno(), sys.stdout.fileno())
                os.dup2(file.fileno(), sys.stderr.fileno())
            fuzz(target, [target, *options])
        codes[target] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return codes


if __name__ == "__main__":
    target = sys.argv.pop(1)
    if target == "--each":
        print(json.dumps(fuzz_each(json.loads(sys.argv[1]))))
    else:
        fuzz(target, sys.argv[1:])
