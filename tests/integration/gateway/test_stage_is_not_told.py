"""Which stage of screening decided is the operator's to know: no answer and no receipt tells it."""

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
from inference.engine.statistics import Duration
from inference.screening.detector import Verdict
from sealgate.reasons import Reason
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import question, rows

FIRST = {"graph_rows": 0, "score": -2.71828182}
GRAPH = {"graph_rows": 1, "score": 3.14159265}


class Call:
    method = "/inference.GRPCInferenceService/ModelInfer"
    principal = SimpleNamespace(name="client", roles=("client",))

    def time_remaining(self):
        return None

    def is_active(self):
        return True


class Staged:
    """The gateway's engine, whose answers say which stage decided."""

    def __init__(self, engine, **said):
        self.engine, self.said = engine, said

    def resolve(self, *asked):
        return self.engine.resolve(*asked)

    def infer_all(self, *asked):
        return [answer._replace(**self.said) for answer in self.engine.infer_all(*asked)]


def predict(harness, **said):
    gateway = harness.gateway
    registry = gateway.store.registry
    engine = Staged(gateway.engine, **said)
    return InferencePipeline(
        engine,
        gateway.recorder,
        Enforcement(
            engine,
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
        gateway.rollout,
        now,
        longest=10.0,
    )


def test_answers_of_both_stages_have_the_same_parts(harness):
    asked = question("digits", rows(), receipt=True)
    found = []
    for said in (FIRST, GRAPH):
        response = predict(harness, verdict=Verdict.CLEAN, **said)(asked, Call())
        text = response.parameters["receipt"].string_param
        receipt = Receipt.decode(text.encode())
        told = verify_receipt(receipt, harness.governance("client").policy()).fields
        assert not {"score", "threshold", "stage"} & told.keys()
        assert str(said["score"]).encode() not in response.SerializeToString()
        del response.parameters["receipt"]
        found.append((response.SerializeToString(deterministic=True), sorted(told)))
    assert found[0] == found[1]


def test_a_refusal_says_its_reason_and_no_more(harness):
    asked = question("digits", rows(), receipt=True)
    with pytest.raises(RecordedRefusal) as caught:
        predict(harness, verdict=Verdict.ADVERSARIAL, **GRAPH)(asked, Call())
    assert caught.value.reason is Reason.ADVERSARIAL_INPUT
    assert not caught.value.facts
    receipt = Receipt.decode(caught.value.receipt)
    told = verify_receipt(receipt, harness.governance("client").policy()).fields
    assert not {"score", "threshold", "stage"} & told.keys()


def test_the_operator_is_told_in_numbers(harness):
    live = harness.gateway.engine.resolve("digits", None, "production")
    before = live.statistics.report(Duration())
    predict(harness, verdict=Verdict.CLEAN, **FIRST)(question("digits", rows()), Call())
    predict(harness, verdict=Verdict.CLEAN, **GRAPH)(question("digits", rows()), Call())
    after = live.statistics.report(Duration())
    assert (after.first - before.first, after.graph - before.graph) == (1, 1)
