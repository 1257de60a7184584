"""The demo's gateway ends with the program that started it, and two demos never share a port."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.stage import StepFailed, check_free, free_ports
from tests.support.harness.gateway import ROOT

_SECONDS = 60


def in_use(port: int) -> bool:
    try:
        check_free(f"127.0.0.1:{port}")
    except StepFailed:
        return True
    return False


def test_the_gateway_ends_with_its_parent(tmp_path: Path) -> None:
    port = free_ports()
    words = ["-m", "demo.run", "--state", str(tmp_path / "state"), "--port", str(port)]
    words.append("--no-console")
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


# Looks from the given port on.
_OTHER = """
import sys
from demo import stage
stage._pairs = iter(range(int(sys.argv[1]), 65535, 2))
print(stage.free_ports())
"""


def other(start: int) -> int:
    command = [sys.executable, "-c", _OTHER, str(start)]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="nothing tells of it elsewhere")
def test_a_port_is_given_to_one_process() -> None:
    mine = free_ports()
    assert other(mine) != mine
