"""Runs `sealgate serve engine` as on a device of a known speed, for `benchmarks.placement`.

    python -m benchmarks.simulated_device FIXED_MS ROW_MS python -m sealgate.cli.main serve engine …

A batch of n rows is computed as ever, and then takes FIXED_MS + n * ROW_MS milliseconds in all. The
rest is slept, so that the device keeps no core busy.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from inference.engine.ready_version import ReadyVersion
from sealgate.cli.main import main as sealgate

_WORDS_BEFORE = 3


def main() -> None:
    fixed, row = (float(text) / 1000 for text in sys.argv[1:3])
    slow_down(fixed, row)
    sealgate(sys.argv[3 + _WORDS_BEFORE :])


def slow_down(fixed: float, row: float, kind: Any = ReadyVersion) -> None:
    """Let every batch of a `kind` of versions take `fixed` seconds, and `row` more for each row."""
    real: Callable[..., Any] = kind._infer

    def timed(self: Any, x: Any, *more: Any) -> Any:
        until = time.monotonic() + fixed + row * len(x)
        found = real(self, x, *more)
        time.sleep(max(0.0, until - time.monotonic()))
        return found

    kind._infer = timed


if __name__ == "__main__":
    main()
