"""The process that atheris runs in: `python -m tests.fuzz.child MODULE TARGET PROGRAM OPTIONS`.

PROGRAM is what libFuzzer starts to run this again, OPTIONS are its own.

It instruments our own packages as they are imported, so it imports nothing of them before, and of
the harnesses' modules the target's alone.
"""

import importlib
import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["sealgate", "registry", "inference", "gateway"]):
    module: Any = importlib.import_module(sys.argv.pop(1))

if __name__ == "__main__":
    target = sys.argv.pop(1)
    harness = next(each for each in module.HARNESSES if each.name == target)
    atheris.Setup(sys.argv[1:], harness.run)
    atheris.Fuzz()
