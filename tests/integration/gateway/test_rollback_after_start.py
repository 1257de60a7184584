"""A gateway loads the previous version at start, so that the first rollback is immediate."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness.gateway import GatewayHarness, running

_SECONDS = 60


def test_the_previous_version_is_loaded_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "state") as harness:
        for folder in ("digits-standard", "digits-hardened"):
            harness.publish(folder, "digits")
        harness.promote("digits", 1)
        harness.promote("digits", 2)
        harness.stop()
        harness.start()
        await_both_loaded(harness)
        monkeypatch.setattr("inference.backends.local.read_files", unwilling)
        harness.governance("admin").rollback("digits", "production", 1, "test")
        harness.await_version("digits", 1)


def await_both_loaded(harness: GatewayHarness) -> None:
    assert harness.gateway is not None
    deadline = time.monotonic() + _SECONDS
    while len(harness.gateway.engine.ready_versions) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def unwilling(*_: Any) -> Any:
    raise AssertionError("a file was read")
