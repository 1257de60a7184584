"""A clock that was wrong for a while does not stop promotions and revocations afterwards."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway import app
from sealgate.reasons import Reason
from sealgate.steady_clock import SteadyClock
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows
from tests.support.harness.rollouts import await_true


class Wall:
    """The machine's clock, which is `off` by so much."""

    off = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.off


def test_promotions_are_followed_after_a_clock_jump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    monkeypatch.setattr(app, "now", SteadyClock(wall))
    harness = GatewayHarness(tmp_path / "state", "digits-standard", "digits-hardened")
    harness.start()
    try:
        harness.promote("digits", 1)
        wall.off = timedelta(days=3)
        # As long as it takes until the statement of freshness is looked at.
        time.sleep(6)
        wall.off = timedelta()
        harness.promote("digits", 2)
        harness.governance("admin").revoke("digits", 2, "test")
        ask = harness.inference().ModelInfer
        await_true(lambda: ("digits", "production") not in harness.gateway.engine.live())
        assert refusal(ask, question("digits", rows())) is Reason.VERSION_REVOKED
    finally:
        harness.stop()
