"""`threads_per_run` beyond the cores that a process may use was taken for so many cores, and runs
had more threads than there are.
"""

import logging

import pytest

from inference import cpu
from inference.cpu import CpuSettings


def test_a_run_takes_no_more_than_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cpu, "available_cores", lambda: 2)
    with caplog.at_level(logging.WARNING, "inference.cpu"):
        assert CpuSettings.detect(8) == CpuSettings(2, threads_per_run=2)
    assert "threads_per_run = 8, but 2 cores" in caplog.text
    assert CpuSettings.detect(2) == CpuSettings(2, threads_per_run=2)
