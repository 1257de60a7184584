"""`sealgate log tiles --follow`: what is recorded comes into the folder, over a restart too."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.harness.gateway import GatewayHarness, question, rows, running


@contextmanager
def following(harness: GatewayHarness, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    # A shell starts what it runs behind it deaf to interrupts, tests among them.
    program = ["env", "--default-signal=INT", sys.executable, "-m", "sealgate.cli.main"]
    words = ["--state", str(harness.state), "log", "tiles", str(folder)]
    with subprocess.Popen(
        [*program, *words, "--follow", "--every", "1", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def await_growth(process: "subprocess.Popen[str]") -> int:
    """How many answers the folder holds, once it is told that there are more."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        if told["log"].endswith("/answers"):
            return int(told["entries"])
    raise AssertionError("it ended")


def size(folder: Path) -> int:
    return int((folder / "house_localhost_answers" / "checkpoint").read_text().split("\n")[1])


def test_it_goes_on_over_a_restart_until_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        harness.inference().ModelInfer(question("digits", rows()), timeout=60)
        with following(harness, folder) as process:
            before = await_growth(process)
            assert size(folder) >= before > 0
            harness.stop()
            # Long enough for it to find nobody there.
            assert process.stderr is not None
            assert any("no gateway answers" in line for line in process.stderr)
            harness.start()
            harness.await_version("digits", 1)
            harness.inference().ModelInfer(question("digits", rows()), timeout=60)
            deadline = time.monotonic() + 60
            while (after := await_growth(process)) <= before:
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert size(folder) >= after
