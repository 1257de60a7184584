"""The front door by itself: what no rule allows is refused, whoever asks."""

from types import SimpleNamespace

import pytest

from gateway.front_door import Call, FrontDoor
from gateway.quota_settings import QuotaStore
from gateway.quotas import Quotas
from gateway.settings import Limits
from gateway.turnstile import Turnstile
from sealgate.reasons import Reason, Refusal


class Everyone:
    """An authenticator that takes anybody for an admin."""

    def principal(self, context, policy):
        return SimpleNamespace(name="admin", roles=("admin", "client"))


@pytest.fixture
def door():
    limits = Limits()
    return FrontDoor(
        Everyone(),
        lambda: None,
        lambda call, refusal: None,
        lambda call, request: None,
        Turnstile(limits),
        Quotas.of((), QuotaStore()),
        limits.message_bytes,
    )


@pytest.mark.parametrize(
    "method",
    [
        "/inference.GRPCInferenceService/ModelInfer/",
        "/inference.GRPCInferenceService/modelinfer",
        "//inference.GRPCInferenceService/ModelInfer",
        "/inference.GRPCInferenceService/Unheard",
        "",
    ],
)
def test_a_method_without_a_rule_is_refused(door, method):
    with pytest.raises(Refusal) as caught:
        door.admit(Call(SimpleNamespace(), method, Turnstile(Limits())), method)
    assert caught.value.reason is Reason.RULE_MISSING
