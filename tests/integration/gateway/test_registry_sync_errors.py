"""An error while following the registry is retried, so a revocation still arrives."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.engine.engine import Engine, UpdateResult
from inference.engine.trust_state import RollbackGuard, RollbackGuardFile
from sealgate.reasons import Reason
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows, running


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception) -> None:
    real: Callable[..., UpdateResult | None] = getattr(owner, name)
    failures = [error]

    def flaky(self: Engine | RollbackGuardFile, *arguments: RollbackGuard) -> UpdateResult | None:
        if failures:
            raise failures.pop()
        return real(self, *arguments)

    monkeypatch.setattr(owner, name, flaky)


def is_emptied(harness: GatewayHarness, seconds: float) -> bool:
    """Whether nothing is live any more, before the time has gone."""
    end = time.monotonic() + seconds
    while harness.gateway.engine.live() and time.monotonic() < end:
        time.sleep(0.01)
    return not harness.gateway.engine.live()


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [
        (Engine, "update", RuntimeError("unforeseen")),
        (RollbackGuardFile, "save", OSError("disk full")),
    ],
    ids=["unforeseen", "passing"],
)
def test_a_revocation_arrives_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception
) -> None:
    with running(tmp_path / "state", "digits-standard") as harness:
        harness.promote("digits", 1)
        fail_once(monkeypatch, owner, name, error)
        harness.governance("admin").revoke("digits", 1, "test")
        assert is_emptied(harness, 30)
        asked = refusal(harness.inference().ModelInfer, question("digits", rows()), timeout=60)
        assert asked is Reason.VERSION_REVOKED
