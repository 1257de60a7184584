"""A health check that could test no alias is not healthy."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from sealgate.health import check
from sealgate.health.findings import UNASKED, CheckState, HealthFinding, exit_status
from sealgate.reasons import Reason, SealgateError
from sealgate.v1.registry_pb2 import ListModelsResponse, Model

WELL = HealthFinding("serving", "gateway", CheckState.WELL, "SERVING")


class Golden:
    """A check that may ask no alias of the registry's."""

    policies = (SimpleNamespace(rules=SimpleNamespace(approvals={"production": 1})),)

    def __init__(self, reason: Reason, *models: str) -> None:
        listed = ListModelsResponse(models=[Model(name=f"models/{name}") for name in models])
        self.registry = SimpleNamespace(ListModels=lambda _: listed)
        self._reason = reason

    def of(self, model: str, alias: str) -> Any:
        raise SealgateError(self._reason)


@pytest.mark.parametrize(
    "golden",
    [
        Golden(Reason.RIGHT_MISSING),
        Golden(Reason.RIGHT_MISSING, "digits", "mnist"),
        Golden(Reason.ALIAS_UNKNOWN, "digits"),
    ],
    ids=["no models", "no rights", "no aliases"],
)
def test_a_check_without_any_golden_input_is_not_healthy(golden: Any) -> None:
    nobody: Any = None
    versions = check.VersionChecks(nobody, golden, nobody, datetime.now(UTC), None)
    (found,) = versions.findings(())
    assert (found.check, found.state) == ("golden", CheckState.UNASKED)
    assert exit_status([WELL, found]) == UNASKED
