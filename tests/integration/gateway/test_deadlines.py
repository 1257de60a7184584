"""A caller's deadline reaches the engine: work that would come too late is not begun."""

from types import SimpleNamespace

import pytest

from gateway.app import now
from gateway.auth.method_rules import Rights
from gateway.calls.call import RecordedRefusal
from gateway.config.optional_sections import FeatureSettings
from gateway.pipeline.enforcement import Enforcement
from gateway.pipeline.infer import InferencePipeline
from gateway.pipeline.observation import Observation
from gateway.screening.drift import DriftWatch
from gateway.screening.features import FeatureKeeper
from gateway.sessions.session_screen import SessionWatch
from sealgate.reasons import Reason
from tests.support.harness.gateway import question, rows


class SpentCall:
    """A call of the client's with no time left."""

    method = "/inference.GRPCInferenceService/ModelInfer"
    principal = SimpleNamespace(name="client", roles=("client",))

    def time_remaining(self):
        return 0.0

    def is_active(self):
        return True


def test_a_call_without_time_is_refused_and_recorded(harness):
    gateway = harness.gateway
    rollout = gateway.rollout
    registry = gateway.store.registry
    predict = InferencePipeline(
        gateway.engine,
        gateway.recorder,
        Enforcement(
            gateway.engine,
            gateway.engine.policy_in_force,
            Rights(gateway.engine.policy_in_force),
            registry.allowances,
            lambda *_: False,
        ),
        Observation(
            SessionWatch(),
            DriftWatch(registry.drifts, gateway.store.answers.origin),
            FeatureKeeper(FeatureSettings(), now),
        ),
        rollout,
        now,
        longest=10.0,
    )
    size = gateway.recorder.size
    with pytest.raises(RecordedRefusal) as caught:
        predict(question("digits", rows()), SpentCall())
    assert caught.value.reason is Reason.DEADLINE_TOO_SHORT
    assert gateway.recorder.size == size + 1
