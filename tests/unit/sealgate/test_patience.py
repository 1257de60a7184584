"""Retries of a client and the time limit of a call; the gateway is in memory."""

import grpc
import pytest

from sealgate.reasons import Reason
from tests.support.builders.documents.people import refused
from tests.support.fakes.gateway import ClientHarness, Failed

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def client():
    return ClientHarness()


def test_a_full_queue_is_asked_again_after_the_time_that_it_names(client):
    client.gateway.failures = [Failed(EXHAUSTED, Reason.QUEUE_FULL, 0.1)] * 2
    assert client.ask().version == 1
    assert client.gateway.pauses == [0.1 + 0.025, 0.1 + 0.05]


def test_a_gateway_that_goes_away_is_asked_again(client):
    client.gateway.failures = [Failed(UNAVAILABLE), Failed(UNAVAILABLE, Reason.DRAINING)]
    assert client.ask().version == 1
    assert client.gateway.pauses == [0.025, 0.05]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (Failed(EXHAUSTED), Reason.CALL_FAILED),
        (Failed(EXHAUSTED, Reason.QUEUE_FULL), Reason.QUEUE_FULL),
        (Failed(EXHAUSTED, Reason.QUEUE_FULL, 60.0), Reason.QUEUE_FULL),
        (Failed(grpc.StatusCode.DEADLINE_EXCEEDED), Reason.DEADLINE_TOO_SHORT),
        (Failed(grpc.StatusCode.INTERNAL, Reason.INTERNAL, 0.1), Reason.INTERNAL),
        (Failed(grpc.StatusCode.PERMISSION_DENIED, Reason.ROLE_TOO_LOW), Reason.ROLE_TOO_LOW),
    ],
)
def test_nothing_else_is_asked_again(client, failure, reason):
    client.gateway.failures = [failure]
    with refused(reason):
        client.ask()
    assert client.gateway.calls.count("ModelInfer") == 1


def test_retries_end(client):
    client.gateway.failures = [Failed(UNAVAILABLE, Reason.RECORD_FAILED)] * 9
    with refused(Reason.RECORD_FAILED):
        client.ask()
    assert client.gateway.calls.count("ModelInfer") == 4


def test_there_is_no_pause_that_outlasts_the_call(client):
    client.gateway.failures = [Failed(EXHAUSTED, Reason.QUEUE_FULL, 0.5)]
    with refused(Reason.QUEUE_FULL):
        client.ask(seconds=0.5)
    assert client.gateway.pauses == []


def test_a_call_without_time_is_not_made(client):
    with refused(Reason.DEADLINE_TOO_SHORT):
        client.ask(seconds=0.0)
    assert client.gateway.calls == []


def test_an_answer_whose_log_gives_no_proof_is_withheld(client):
    client.ask()
    client.gateway.others(3)

    def away(request):
        raise Failed(UNAVAILABLE)

    client.gateway.GetConsistencyProof = away
    with refused(Reason.CALL_FAILED):
        client.ask()
    assert client.gateway.calls.count("ModelInfer") == 2
