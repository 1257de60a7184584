"""A proxy between client and gateway that terminates TLS: whatever it changes is noticed."""

import grpc
import numpy as np
import pytest

import sealgate
from sealgate.client.client import options_of
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote.errors import GatewayRefusal
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import GatewayHarness, rows, running
from tests.support.harness.network.tls_relay import TlsRelay, tls_relay_to
from tests.support.harness.rollouts import share


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory):
    """A gateway with digits 1 in production and digits 2 as canary, whom nobody is sent to."""
    with running(
        tmp_path_factory.mktemp("relay") / "state", "digits-standard", "digits-hardened"
    ) as harness:
        harness.promote("digits", 1)
        share(harness, 2, 0)
        yield harness


@pytest.fixture
def relay(two_versions):
    with tls_relay_to(two_versions) as relay:
        yield relay


def connected(harness: GatewayHarness, relay: TlsRelay, **changes):
    """A client of the relay, which knows nothing of it; and of no earlier answer."""
    options = options_of(harness.profile("client")) | {"authority": relay.authority}
    options.pop("witness", None)
    return sealgate.connect(relay.endpoint, **{**options, **changes})


@pytest.fixture
def client(two_versions, relay):
    with connected(two_versions, relay) as client:
        yield client


def test_a_relay_that_changes_nothing_is_not_noticed(client, relay):
    answer = client.infer("digits", {"x": rows()}, id="claim-17", subject="patient-1")
    assert (answer.version, answer.receipt.fields["alias"]) == (1, "production")
    assert answer.receipt.fields["request_id"] == "claim-17"
    assert client.infer("digits", {"x": rows()}, alias="canary").version == 2
    assert client.infer("digits", {"x": rows()}, version=2).receipt.fields["alias"] == ""
    with pytest.raises(GatewayRefusal) as caught:
        client.infer("digits", {"x": rows()[:, :10]})
    assert caught.value.receipt.fields["outcome"] == Reason.TENSOR_SHAPE.name
    nonces = {call.parameters["nonce"].string_param for call in relay.calls}
    assert len(nonces) == 4


def change(name, **value):
    def changed(request: oip.ModelInferRequest) -> None:
        request.parameters.pop(name, None)
        if value:
            request.parameters[name].CopyFrom(oip.InferParameter(**value))

    return changed


def changed_field(name, value):
    return lambda request: setattr(request, name, value)


@pytest.mark.parametrize(
    ("ask", "detail"),
    [
        pytest.param(change("alias", string_param="canary"), "alias", id="another alias"),
        pytest.param(change("alias", string_param="production"), "parameters", id="the alias"),
        pytest.param(change("subject", string_param="otto"), "parameters", id="another subject"),
        pytest.param(change("subject"), "parameters", id="no subject"),
        pytest.param(change("session", string_param="s"), "parameters", id="a session"),
        pytest.param(change("nonce"), "parameters", id="no nonce"),
        pytest.param(change("nonce", string_param="n" * 22), "parameters", id="another nonce"),
        pytest.param(changed_field("model_version", "1"), "alias", id="a version"),
        pytest.param(
            lambda request: request.outputs.add(name="logits"), "parameters", id="an output"
        ),
    ],
)
def test_a_request_changed_on_its_way_is_noticed(client, relay, ask, detail):
    relay.ask = ask
    with refused(Reason.RECEIPT_MISMATCH) as caught:
        client.infer("digits", {"x": rows()}, subject="patient-1")
    assert caught.value.detail == detail


def test_an_exchanged_id_is_noticed_though_the_answer_bears_the_callers(client, relay):
    relay.ask = changed_field("id", "other")

    def own(answer):
        answer.id = "claim-17"
        return answer

    relay.answer = own
    with refused(Reason.RECEIPT_MISMATCH) as caught:
        client.infer("digits", {"x": rows()}, id="claim-17")
    assert caught.value.detail == "request_id"


@pytest.mark.parametrize(
    "ask",
    [change("alias", string_param="canary"), change("subject", string_param="otto")],
    ids=["another alias", "another subject"],
)
def test_a_refusal_of_a_changed_request_is_noticed(client, relay, ask):
    relay.ask = ask
    with refused(Reason.RECEIPT_MISMATCH):
        client.infer("digits", {"x": np.zeros((1, 10), np.float32)}, subject="patient-1")


def test_an_earlier_answer_to_the_same_question_is_not_taken_again(two_versions, relay):
    """By a client that has just begun, and so remembers no log."""
    with connected(two_versions, relay) as first:
        first.infer("digits", {"x": rows()})
    (kept,) = relay.answers
    relay.answer = lambda _: kept
    with (
        connected(two_versions, relay) as second,
        refused(Reason.RECEIPT_MISMATCH) as caught,
    ):
        second.infer("digits", {"x": rows()})
    assert caught.value.detail == "parameters"


def test_another_callers_answer_to_the_same_question_is_not_taken(two_versions, client, relay):
    """Not even one that is given later than the call began."""

    def theirs(answer: oip.ModelInferResponse) -> oip.ModelInferResponse:
        profile = two_versions.profile("client")
        options = options_of(profile)
        options.pop("witness", None)
        with sealgate.connect(profile.endpoint, **options) as other:
            told = other.infer("digits", {"x": rows()})
        answer.parameters["receipt"].string_param = told.receipt.data.decode()
        return answer

    relay.answer = theirs
    with refused(Reason.RECEIPT_MISMATCH) as caught:
        client.infer("digits", {"x": rows()})
    assert caught.value.detail == "parameters"


def test_a_nonce_that_is_none_is_refused_with_its_reason(client, relay):
    relay.ask = change("nonce", string_param="short")
    with pytest.raises(GatewayRefusal) as caught:
        client.infer("digits", {"x": rows()})
    assert caught.value.reason is Reason.PARAMETER_MALFORMED
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_answers_of_v1_may_be_taken_by_who_says_so_and_bind_what_they_can(two_versions, relay):
    """No nonce is sent then. A new gateway's answer is still checked against the parameters."""
    with connected(two_versions, relay, unsafe_v1_receipts=True) as client:
        client.infer("digits", {"x": rows()})
        assert "nonce" not in relay.calls[-1].parameters
        relay.ask = change("alias", string_param="canary")
        with refused(Reason.RECEIPT_MISMATCH):
            client.infer("digits", {"x": rows()})
