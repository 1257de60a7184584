"""Cached answers of the registry expire as soon as anything may have changed."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from console.reading.gateway import AnswerKey, PersonCalls, RegistryAnswers, state_of
from sealgate.reasons import Reason, SealgateError
from sealgate.v1.log_pb2 import GetCheckpointResponse
from sealgate.v1.registry_pb2 import (
    GetPolicyRequest,
    GetPolicyResponse,
    GetVersionRequest,
    ListVersionsRequest,
)
from tests.support.builders.documents.people import NOW, refused

LOG = "house.localhost/registry"


class Gateway:
    """A gateway whose registry's log has `size` entries; it answers with a number of its own."""

    def __init__(self, log: str = LOG) -> None:
        self.now = NOW
        self.answers = RegistryAnswers(self.clock)
        self.registry_log = log
        self.size = 7
        self.signatures = "one"
        self.asked: list[Any] = []
        self.refuses = False
        self.policy = "a policy"

    def clock(self) -> datetime:
        return self.now

    def policies(self, envelopes: tuple[bytes, ...]) -> tuple[Any, ...]:
        """Return the registry's verified policies: here one with the current digest."""
        return (SimpleNamespace(digest=self.policy),)

    def calls(self, identity: str = "anna", token: str = "first") -> PersonCalls:  # noqa: S107
        """Those of one page."""
        channel = grpc.insecure_channel("localhost:1")
        calls = PersonCalls(self, channel, identity, token)  # type: ignore[arg-type]
        calls.logs = SimpleNamespace(GetCheckpoint=self.checkpoint)
        calls.registry = SimpleNamespace(
            GetPolicy=self.answer, GetVersion=self.answer, ListVersions=self.answer
        )
        return calls

    def checkpoint(self, request: Any, timeout: float) -> GetCheckpointResponse:
        assert request.origin == LOG
        if self.refuses:
            raise SealgateError(Reason.TOKEN_EXPIRED)
        note = f"{LOG}\n{self.size}\nhash of {self.size}\n\n— {self.signatures}\n"
        return GetCheckpointResponse(note=note)

    def answer(self, request: Any, timeout: float) -> GetPolicyResponse:
        if isinstance(request, GetPolicyRequest):
            return GetPolicyResponse(envelopes=[b"signed"])
        self.asked.append(request)
        return GetPolicyResponse(etag=str(len(self.asked)))


@pytest.fixture
def gateway() -> Gateway:
    gateway = Gateway()
    gateway.answers.has_settled(gateway.policy)
    gateway.now += RegistryAnswers.SETTLED
    return gateway


def told(calls: PersonCalls, request: Any = None, method: str = "GetVersion") -> str:
    return str(calls.recall(method, request or GetVersionRequest()).etag)


def test_the_same_state_is_asked_once(gateway: Gateway) -> None:
    assert told(gateway.calls()) == "1"
    gateway.signatures = "another witness"
    assert told(gateway.calls()) == "1"


def test_a_change_of_the_registry_is_seen_by_the_next_page(gateway: Gateway) -> None:
    page = gateway.calls()
    assert told(page) == "1"
    gateway.size += 1
    assert told(page) == "1"
    assert told(gateway.calls()) == "2"


def test_each_token_and_person_and_question_is_answered_by_itself(gateway: Gateway) -> None:
    answers = [
        told(gateway.calls()),
        told(gateway.calls(token="second")),
        told(gateway.calls(identity="arne")),
        told(gateway.calls(), GetVersionRequest(name="models/digits/versions/1")),
        told(gateway.calls(), GetVersionRequest(name="models/digits/versions/2")),
        told(gateway.calls(), ListVersionsRequest(), "ListVersions"),
    ]
    assert answers == ["1", "2", "3", "4", "5", "6"]


def test_who_is_not_let_in_any_more_is_told_nothing(gateway: Gateway) -> None:
    told(gateway.calls())
    gateway.refuses = True
    with refused(Reason.TOKEN_EXPIRED):
        told(gateway.calls())


def test_nothing_is_kept_for_longer_than_a_minute(gateway: Gateway) -> None:
    told(gateway.calls())
    gateway.now += RegistryAnswers.KEPT - timedelta(seconds=1)
    assert told(gateway.calls()) == "1"
    gateway.now += timedelta(seconds=1)
    assert told(gateway.calls()) == "2"


def test_nothing_is_kept_in_the_first_seconds_of_a_policy(gateway: Gateway) -> None:
    """The gateway may still answer by the rights of the policy before."""
    assert told(gateway.calls()) == "1"
    gateway.policy, gateway.size = "the next policy", gateway.size + 1
    assert [told(gateway.calls()), told(gateway.calls())] == ["2", "3"]
    gateway.now += RegistryAnswers.SETTLED
    assert [told(gateway.calls()), told(gateway.calls())] == ["4", "4"]


def test_nothing_is_kept_before_the_log_is_known() -> None:
    gateway = Gateway(log="")
    assert [told(gateway.calls()), told(gateway.calls())] == ["1", "2"]


def test_several_are_answered_in_the_order_in_which_they_are_asked(gateway: Gateway) -> None:
    first, second = (GetVersionRequest(name=f"models/digits/versions/{n}") for n in (1, 2))
    told(gateway.calls(), second)
    found = gateway.calls().recall_all("GetVersion", [first, second, first])
    assert [answer.etag for answer in found] == ["2", "1", "2"]


def test_the_oldest_answers_make_room() -> None:
    answers = RegistryAnswers(lambda: NOW)
    keys = [
        AnswerKey("anna", "token", "state", "GetVersion", bytes([n % 256, n // 256]))
        for n in range(RegistryAnswers.MOST + 1)
    ]
    for key in keys:
        answers.keep(key, key.request)
    assert answers.find(keys[0]) is None
    assert [answers.find(key) for key in keys[1:]] == [key.request for key in keys[1:]]


def test_the_state_is_what_is_signed() -> None:
    assert state_of("log\n3\nhash\n\n— one\n— two\n") == state_of("log\n3\nhash\n\n— one\n")
    assert state_of("log\n3\nhash\n\n— one\n") != state_of("log\n4\nhash\n\n— one\n")
