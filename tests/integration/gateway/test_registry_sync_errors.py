"""An error while following the registry is retried, so a revocation still arrives."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.engine.engine import Engine, UpdateResult
from inference.engine.rollback_guard import RollbackGuard, RollbackGuardFile
from sealgate.reasons import Reason
from tests.support.house import House, question, refusal, rows, running


def fail_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception) -> None:
    real: Callable[..., UpdateResult | None] = getattr(owner, name)
    failures = [error]

    def flaky(self: Engine | RollbackGuardFile, *arguments: RollbackGuard) -> UpdateResult | None:
        if failures:
            raise failures.pop()
        return real(self, *arguments)

    monkeypatch.setattr(owner, name, flaky)


def is_emptied(house: House, seconds: float) -> bool:
    """Whether nothing is live any more, before the time has gone."""
    end = time.monotonic() + seconds
    while house.gateway.engine.live() and time.monotonic() < end:
        time.sleep(0.01)
    return not house.gateway.engine.live()


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
    with running(tmp_path / "state", "digits-1") as house:
        house.promote("digits", 1)
        fail_once(monkeypatch, owner, name, error)
        house.governance("admin").revoke("digits", 1, "test")
        assert is_emptied(house, 30)
        asked = refusal(house.inference().ModelInfer, question("digits", rows()), timeout=60)
        assert asked is Reason.VERSION_REVOKED
