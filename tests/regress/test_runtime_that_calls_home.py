"""onnxruntime 1.31 reports to its maker from a thread that it starts when it is loaded.

It was found when a publisher's worker was ended for a socket that nobody had asked for.
"""

import os
import subprocess
import sys

import pytest

_COUNT = """
import os, numpy
before = len(os.listdir("/proc/self/task"))
import {module}
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize("module", ["inference.runtime", "publishing.quantize"])
def test_loading_the_runtime_starts_no_thread(module: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", _COUNT.format(module=module)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=True, env=environment
    )
    assert int(done.stdout) == 0
