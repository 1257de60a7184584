"""Bursts while an issuer's keys are fetched: only callers with its tokens wait for them."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import jwt
import pytest

from gateway.auth.key_sets import KeySet
from gateway.auth.remote_keys import RemoteKeys, Schedule
from sealgate.reasons import Reason
from tests.support.fakes.whole_calls import FakeWholeCall
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.servers.issuer import P256, jwk, jwks, token

OTHER, OWN = (KeySet.parse(jwks(jwk(P256, kid)), strict=True) for kid in ("other", "own"))


class SlowIssuer:
    """An issuer whose key `own` is not known before `come` lets it come."""

    def __init__(self, harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        tokens = harness.gateway.authenticator.tokens
        (issuer,) = tokens.issuers.values()
        self.url, self.audience = issuer.url, issuer.audience
        self._may_come = threading.Event()
        self._fetch: Callable[[], KeySet] = lambda: OTHER
        self.keys = RemoteKeys(issuer.url, lambda: self._fetch(), Schedule(interval=0.0, wait=60.0))
        self.keys.refresh()
        self._fetch = self._slowly
        self.keys.start()
        monkeypatch.setitem(tokens.issuers, issuer.url, replace(issuer, keys=self.keys))

    def come(self) -> None:
        self._may_come.set()

    def close(self) -> None:
        self.come()
        self.keys.close()

    def _slowly(self) -> KeySet:
        assert self._may_come.wait(60)
        return OWN


@pytest.fixture
def issuer(harness: GatewayHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowIssuer]:
    slow = SlowIssuer(harness, monkeypatch)
    yield slow
    slow.close()


def test_whoever_names_an_unknown_key_holds_up_nobody_else(
    harness: GatewayHarness, issuer: SlowIssuer
) -> None:
    """Anybody can write such a token: its signature can be looked at only with the key."""
    named = token(kid="unknown", iss=issuer.url, aud=issuer.audience)
    strangers = [FakeWholeCall(question("digits", rows()), f"Bearer {named}") for _ in range(3)]
    other = FakeWholeCall.by(harness.profile("monitor"), question("digits", rows()))
    harness.gateway.bursts([*strangers, other])
    assert other.reason is None
    assert not any(call.ended.is_set() for call in strangers)
    issuer.come()
    assert [call.reason for call in strangers] == [Reason.TOKEN_SIGNATURE] * 3
    assert not any(call.is_known for call in strangers)


def test_whose_key_is_new_is_answered_once_it_has_come(
    harness: GatewayHarness, issuer: SlowIssuer
) -> None:
    client, size = harness.profile("client").token, harness.gateway.recorder.size
    assert client is not None
    subject = jwt.decode(client.read_text().strip(), options={"verify_signature": False})["sub"]
    # A token that nobody has verified yet.
    bearer = token(kid="own", iss=issuer.url, aud=issuer.audience, sub=subject)
    calls = [FakeWholeCall(question("digits", rows()), f"Bearer {bearer}") for _ in range(3)]
    harness.gateway.bursts(calls)
    assert not any(call.ended.is_set() for call in calls)
    issuer.come()
    assert [call.reason for call in calls] == [None] * 3
    assert all(call.is_known for call in calls)
    assert harness.gateway.recorder.size == size + 3
