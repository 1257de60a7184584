"""Tokens that were verified are kept for a while, and fall with what made them valid."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.auth.authenticate import BurstAuthenticator
from gateway.auth.key_sets import KeySet
from gateway.auth.tokens import Issuer, TokenVerifier, VerifiedTokens
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.documents.people import make_policy
from tests.support.fakes.clock import Clock
from tests.support.harness.servers.issuer import (
    AUDIENCE,
    ED25519,
    ISSUER,
    P256,
    RSA,
    jwk,
    jwks,
    token,
)

KEYS = jwks(jwk(P256, "p"), jwk(ED25519, "e"), jwk(RSA, "r"))


def refused(verifier, text):
    with pytest.raises(SealgateError) as caught:
        verifier.identity(text)
    return caught.value.reason


class Keys:
    """Keys that a test changes, and that say how often they were asked for."""

    def __init__(self, document=KEYS):
        self.asked = 0
        self.change(document)

    def change(self, document):
        self.key_set = KeySet.parse(document, strict=True)

    def current(self):
        return self.key_set

    def may_wait(self, kid):
        return False

    def find(self, kid):
        self.asked += 1
        key = self.key_set.keys.get(kid)
        return None if key is None else (self.key_set, key)


@pytest.fixture
def kept():
    keys, clock = Keys(), Clock(datetime.now(UTC).timestamp())
    return TokenVerifier([Issuer(ISSUER, AUDIENCE, keys)], clock), keys, clock


def test_a_token_is_verified_once_a_minute(kept):
    verifier, keys, clock = kept
    text = token()
    for _ in range(3):
        verifier.identity(text, policy="a")
    assert keys.asked == 1
    clock.now += 59
    verifier.identity(text, policy="a")
    assert keys.asked == 1
    clock.now += 2
    verifier.identity(text, policy="a")
    assert keys.asked == 2


def test_a_kept_token_falls_with_its_expiry(kept):
    verifier, _, clock = kept
    text = token(exp=datetime.now(UTC) + timedelta(seconds=30))
    verifier.identity(text)
    clock.now += 41
    assert refused(verifier, text) is Reason.TOKEN_EXPIRED


def test_a_kept_token_falls_with_the_policy(kept):
    verifier, keys, _ = kept
    text = token()
    verifier.identity(text, policy="a")
    verifier.identity(text, policy="b")
    assert keys.asked == 2


def test_a_kept_token_falls_with_its_key(kept):
    verifier, keys, _ = kept
    text = token()
    verifier.identity(text)
    keys.change(jwks(jwk(ED25519, "e")))
    assert refused(verifier, text) is Reason.TOKEN_SIGNATURE


def test_a_token_falls_with_keys_that_change_while_it_is_verified(kept):
    """With each call of a burst as well, which knows tokens again by themselves."""
    verifier, keys, clock = kept
    find, text, policy = keys.find, token(), make_policy(version=2)

    class Authenticator:
        def principal(self, context, policy):
            return verifier.identity(text, None, policy.digest)

        def verified_token(self, authorization):
            return verifier.known(text)

        def may_wait(self, authorization):
            return verifier.may_wait(text)

    def found_before(kid):
        found = find(kid)
        keys.change(jwks(jwk(ED25519, "e")))
        return found

    keys.find = found_before
    bursts = BurstAuthenticator(Authenticator(), clock)
    context = SimpleNamespace(
        invocation_metadata=lambda: [("authorization", f"Bearer {text}")], auth_context=dict
    )
    bursts.begin()
    assert bursts.principal(context, policy) == verifier.known(text).identity
    bursts.begin()
    with pytest.raises(SealgateError) as caught:
        bursts.principal(context, policy)
    assert caught.value.reason is Reason.TOKEN_SIGNATURE
    assert refused(verifier, text) is Reason.TOKEN_SIGNATURE


def test_what_is_refused_is_not_kept(kept):
    verifier, keys, _ = kept
    bad = token(ec.generate_private_key(ec.SECP256R1()))
    for _ in range(2):
        assert refused(verifier, bad) is Reason.TOKEN_SIGNATURE
    assert keys.asked == 2


def test_a_kept_token_is_known_by_all_its_bytes(kept):
    verifier, _, _ = kept
    text = token()
    verifier.identity(text)
    other = text[:-4] + ("AAAA" if text[-4:] != "AAAA" else "BBBB")
    assert refused(verifier, other) is Reason.TOKEN_SIGNATURE


@pytest.mark.parametrize(
    "changes", [{"exp": datetime.now(UTC) - timedelta(hours=1)}, {"aud": "another"}, {"iss": "x"}]
)
def test_what_is_cheap_to_see_is_seen_before_a_key_is_looked_for(kept, changes):
    verifier, keys, _ = kept
    with pytest.raises(SealgateError):
        verifier.identity(token(kid="unknown", **changes))
    assert keys.asked == 0


def test_the_kept_tokens_are_bounded():
    kept = VerifiedTokens(most=3)
    for number in range(10):
        kept.put(bytes([number]), None)
    assert len(kept) == 3
