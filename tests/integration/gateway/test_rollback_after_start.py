"""A gateway loads the previous version at start, so that the first rollback is immediate."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import House, running

_SECONDS = 60


def test_the_previous_version_is_loaded_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "state") as house:
        for folder in ("digits-1", "digits-2"):
            house.publish(folder, "digits")
        house.promote("digits", 1)
        house.promote("digits", 2)
        house.stop()
        house.start()
        await_both_loaded(house)
        monkeypatch.setattr("inference.backends.local.read_files", unwilling)
        house.governance("admin").rollback("digits", "production", 1, "test")
        house.await_version("digits", 1)


def await_both_loaded(house: House) -> None:
    assert house.gateway is not None
    deadline = time.monotonic() + _SECONDS
    while len(house.gateway.engine.ready_versions) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def unwilling(*_: Any) -> Any:
    raise AssertionError("a file was read")
