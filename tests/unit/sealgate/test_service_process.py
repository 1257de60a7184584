"""SIGTERM ends a process; SIGHUP does so only where it tells that the terminal is gone."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

CODE = """
import logging
from sealgate.service_process import end_event
logging.basicConfig(format="%(message)s")
ending = end_event()
print("waits", flush=True)
while not ending.wait(0.05):
    pass
"""


@contextmanager
def process(stdin: int) -> Iterator["subprocess.Popen[str]"]:
    begun = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with begun:
        try:
            assert begun.stdout.readline() == "waits\n"
            yield begun
        finally:
            begun.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(number: int) -> None:
    with process(subprocess.DEVNULL) as waiting:
        waiting.send_signal(number)
        assert waiting.wait(60) == 0


def test_a_hangup_without_a_terminal_is_logged_and_ends_nothing() -> None:
    with process(subprocess.DEVNULL) as waiting:
        waiting.send_signal(signal.SIGHUP)
        assert "SIGHUP reloads nothing" in waiting.stderr.readline()
        assert waiting.poll() is None
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(60) == 0


def test_a_terminal_that_is_gone_ends_it() -> None:
    ours, theirs = pty.openpty()
    try:
        with process(theirs) as waiting:
            waiting.send_signal(signal.SIGHUP)
            assert waiting.wait(60) == 0
    finally:
        os.close(ours)
        os.close(theirs)
