"""`make drill`: breaks production on purpose; how soon is it seen, ended and explained?"""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from rich.console import Console

from demo.drill.disk import release
from demo.drill.play import NAMES, play
from demo.drill.timing import CaseResult, table
from demo.stage import StepFailed
from sealgate.reasons import SealgateError

STATE = Path(__file__).parents[1] / "state"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.drill", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"some of {', '.join(NAMES)}")
    wanted = parser.parse_args().cases or NAMES
    if unknown := set(wanted) - set(NAMES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    results = run(STATE, wanted)
    return 0 if len(results) == len(wanted) and all(item.held for item in results) else 1


def run(state: Path, cases: Sequence[str]) -> list[CaseResult]:
    """Play the cases in a fresh folder, and print the table; returns those that were played."""
    # Else what was started would outlive us.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    release(state / "disk")
    shutil.rmtree(state, ignore_errors=True)
    console, began = Console(highlight=False), time.monotonic()
    results: list[CaseResult] = []
    try:
        results.extend(play(state, cases))
    except (StepFailed, TimeoutError, grpc.RpcError, SealgateError) as error:
        console.print(f"FAILED: {error}", soft_wrap=True, markup=False)
    except KeyboardInterrupt:
        console.print("interrupted")
    console.print()
    console.print(table(results))
    console.print(f"{time.monotonic() - began:.0f} seconds; everything is in {state}")
    return results


if __name__ == "__main__":
    sys.exit(main())
