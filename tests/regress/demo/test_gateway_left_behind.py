"""`make run` that was ended by SIGTERM once left its gateway running, and so its port taken."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.stage import StepFailed, check_free, free_ports
from tests.support.house import ROOT

_SECONDS = 60


def in_use(port: int) -> bool:
    try:
        check_free(f"127.0.0.1:{port}")
    except StepFailed:
        return True
    return False


def test_the_gateway_ends_with_what_started_it(tmp_path: Path) -> None:
    port = free_ports()
    words = ["-m", "demo.run", "--state", str(tmp_path / "state"), "--port", str(port)]
    run = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _SECONDS
        while not in_use(port):
            if time.monotonic() > deadline:
                pytest.fail("the gateway did not start")
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        run.wait(_SECONDS)
    finally:
        run.kill()
        run.wait()
    assert not in_use(port)
