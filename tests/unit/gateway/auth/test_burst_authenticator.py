"""Credentials in bursts: known again while nothing has changed, and asked for anew once it has."""

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.auth.authenticate import BurstAuthenticator, KeysAwaitedError
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import make_policy, refused


class Source:
    """An issuer's keys, which a test replaces."""

    def __init__(self) -> None:
        self.keys: object = object()
        self.asked = 0

    def current(self) -> Any:
        self.asked += 1
        return self.keys


class Tokens:
    """An authenticator that knows one token; `asked` is how often it was verified."""

    def __init__(self) -> None:
        self.source = Source()
        self.asked = 0
        self.until = 100.0
        self.bound: object = None
        self.refusal: SealgateError | None = None
        self.awaited = False

    def principal(self, context: Any, policy: Any) -> Any:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return SimpleNamespace(name=f"principal of {policy.digest}")

    def verified_token(self, authorization: str) -> Any:
        if not authorization.startswith("Bearer token"):
            return None
        return SimpleNamespace(
            source=self.source,
            key_set=self.source.keys,
            until=self.until,
            confirmation=self.bound,
        )

    def may_wait(self, authorization: str) -> bool:
        return self.awaited


class Caller:
    def __init__(self, *values: Any, certificate: bool = False) -> None:
        self._values = values
        self._certificate = certificate

    def invocation_metadata(self) -> Any:
        return [("authorization", value) for value in self._values]

    def auth_context(self) -> Any:
        return {"x509_pem_cert": [b"pem"]} if self._certificate else {}


class BurstsHarness:
    def __init__(self) -> None:
        self.tokens, self.now = Tokens(), 0.0
        self.policy = make_policy(version=2)
        self.bursts = BurstAuthenticator(self.tokens, lambda: self.now)

    def ask(self, caller: Any = None, begin: bool = True) -> str:
        if begin:
            self.bursts.begin()
        return self.bursts.principal(caller or Caller("Bearer token"), self.policy).name


def test_a_token_is_verified_once() -> None:
    harness = BurstsHarness()
    assert len({harness.ask() for _ in range(5)}) == 1
    assert harness.tokens.asked == 1


def test_another_token_is_another_caller() -> None:
    harness = BurstsHarness()
    harness.ask()
    harness.ask(Caller("Bearer token 2"))
    assert harness.tokens.asked == 2


def test_calls_that_share_their_metadata_are_still_looked_at_one_by_one() -> None:
    harness, metadata = BurstsHarness(), (("authorization", "Bearer token"),)
    callers = [Caller(), Caller()]
    for caller in callers:
        caller.invocation_metadata = lambda: metadata  # type: ignore[method-assign]
    before = harness.ask(callers[0])
    assert harness.ask(callers[1], begin=False) == before
    assert harness.tokens.asked == 1
    harness.policy = make_policy(version=2)
    harness.ask(callers[0], begin=False)
    assert harness.tokens.asked == 2


def test_metadata_that_takes_the_place_of_other_is_read() -> None:
    harness = BurstsHarness()
    caller = Caller("Bearer token 1")
    harness.ask(caller)
    caller.invocation_metadata = lambda: (("authorization", "Bearer token 2"),)  # type: ignore[method-assign]
    harness.ask(caller, begin=False)
    assert harness.tokens.asked == 2


def test_key_sets_are_looked_at_once_a_burst() -> None:
    harness = BurstsHarness()
    harness.ask()
    for _ in range(5):
        harness.ask(begin=False)
    assert harness.tokens.source.asked == 1
    harness.ask()
    assert harness.tokens.source.asked == 2


def test_a_new_key_set_is_looked_at_by_the_next_burst() -> None:
    harness = BurstsHarness()
    harness.ask()
    harness.tokens.source.keys = object()
    harness.ask()
    assert harness.tokens.asked == 2


def test_a_new_policy_is_applied_at_once() -> None:
    """Also in the middle of a burst."""
    harness = BurstsHarness()
    harness.ask()
    harness.policy = make_policy(version=2)
    assert harness.ask(begin=False) == f"principal of {harness.policy.digest}"
    assert harness.tokens.asked == 2


def test_a_token_is_not_known_beyond_its_time() -> None:
    harness = BurstsHarness()
    harness.ask()
    harness.now = 100.0
    harness.tokens.refusal = SealgateError(Reason.TOKEN_EXPIRED)
    with refused(Reason.TOKEN_EXPIRED):
        harness.ask()


@pytest.mark.parametrize("certificate", [False, True])
def test_an_issuer_is_not_waited_for(certificate: bool) -> None:
    harness = BurstsHarness()
    harness.tokens.awaited = True
    with pytest.raises(KeysAwaitedError):
        harness.ask(Caller("Bearer token", certificate=certificate))
    assert harness.tokens.asked == 0
    # A caller with only a certificate causes no look-up of keys.
    harness.ask(Caller(certificate=certificate))


def test_a_token_that_is_known_is_not_waited_for() -> None:
    harness = BurstsHarness()
    harness.ask()
    harness.tokens.awaited = True
    harness.ask()
    assert harness.tokens.asked == 1


@pytest.mark.parametrize(
    "caller",
    [
        Caller(),
        Caller("Bearer token", "Bearer token"),
        Caller(b"Bearer token"),
        Caller("Bearer sg_0"),
        Caller("Bearer token", certificate=True),
    ],
)
def test_other_credentials_are_looked_up_each_time(caller: Caller) -> None:
    harness = BurstsHarness()
    harness.ask(caller)
    harness.ask(caller)
    assert harness.tokens.asked == 2


def test_a_bound_token_is_looked_up_each_time() -> None:
    harness = BurstsHarness()
    harness.tokens.bound = object()
    harness.ask()
    harness.ask()
    assert harness.tokens.asked == 2


def test_what_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BurstAuthenticator, "MOST", 2)
    harness = BurstsHarness()
    for number in (1, 2, 3, 3, 1):
        harness.ask(Caller(f"Bearer token {number}"))
    assert harness.tokens.asked == 4
