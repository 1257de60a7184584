"""Tokens bound to the caller's certificate: what is exchanged for one, and when one is refused."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest

from gateway.auth.api_keys import KeyTable
from gateway.auth.authenticate import CallAuthenticator, TokenExchange
from gateway.auth.certificates import CHALLENGE_LIFETIME, LIFETIME, PREFIX, BoundTokens
from gateway.auth.tokens import Issuer, TokenVerifier
from sealgate.reasons import Reason
from sealgate.setup.credentials import (
    AUDIENCE,
    ISSUER,
    CertificateAuthority,
    key_set,
    mint_token,
    new_issuer_key,
)
from sealgate.trust.keys.webauthn import Assertion
from sealgate.trust.policy import Policy
from sealgate.trust.policy.principals import Passkeys
from tests.support.builders.documents.authenticator import PRESENT, Authenticator
from tests.support.builders.documents.people import make_policy, refused

ANNA = Authenticator("anna")
MAC_KEY = bytes(range(32))


def policy_of(passkey: Authenticator | None = ANNA, identity: str = "") -> Policy:
    """A policy in which Anna has a passkey, and Otto an identity."""
    keys = () if passkey is None else (passkey.keyid,)
    more = (identity,) if identity else ()
    changes = {
        "anna": lambda p: replace(p, keys=(*p.keys, *keys)),
        "otto": lambda p: replace(p, identities=(*p.identities, *more)),
    }
    people = tuple(changes[p.name](p) if p.name in changes else p for p in make_policy().principals)
    passkeys = {} if passkey is None else {passkey.keyid: passkey.passkey}
    return make_policy(principals=people, webauthn=Passkeys(passkeys))


@dataclass
class ShownCertificate:
    """A call's context: the certificate that the handshake verified, and a bearer."""

    pem: bytes | None
    bearer: str = ""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self.pem]} if self.pem else {}

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return [("authorization", f"Bearer {self.bearer}")] if self.bearer else []


@dataclass
class Exchanging:
    """An exchange with a clock, a policy and counters that a test may set."""

    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    policy: Policy = field(default_factory=policy_of)
    counters: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        callers = CertificateAuthority("callers", self.now, timedelta(days=9))
        self.console = callers.nobody().certificate
        self.other = callers.nobody().certificate
        self.issuer_key = new_issuer_key()
        (self.folder / "jwks.json").write_bytes(key_set(self.issuer_key))
        issuer = Issuer.from_file(ISSUER, AUDIENCE, self.folder / "jwks.json")
        self.authenticator = self.authenticating(TokenVerifier([issuer]))
        counters = lambda: self.counters  # noqa: E731
        self.exchange = TokenExchange(self.authenticator, lambda: self.policy, counters, self.clock)

    def authenticating(self, tokens: TokenVerifier) -> CallAuthenticator:
        bound = BoundTokens(MAC_KEY, self.clock)
        return CallAuthenticator(tokens, KeyTable(None), self.clock, bound)

    def clock(self) -> datetime:
        return self.now

    def sign_in(self, passkey: Authenticator = ANNA, **changes: Any) -> str:
        context: Any = ShownCertificate(self.console)
        challenge, _ = self.exchange.challenge(context)
        answer = passkey.answer(challenge, **changes)
        return self.exchange.by_passkey(context, passkey.keyid, challenge, answer).text

    def token(self, hours: float = 9) -> str:
        """One of the issuer's for Otto, bound to nothing."""
        return mint_token(self.issuer_key, "otto", self.now, timedelta(hours=hours))

    def caller(self, token: str, pem: bytes | None = b"") -> str:
        """Return the caller's name as the gateway authenticates it."""
        shown = self.console if pem == b"" else pem
        context: Any = ShownCertificate(shown, token)
        return self.authenticator.principal(context, self.policy).name


@pytest.fixture
def at(tmp_path: Path) -> Exchanging:
    return Exchanging(tmp_path)


class TestByPasskey:
    def test_the_token_is_good_with_the_certificate_alone(self, at: Exchanging) -> None:
        token = at.sign_in()
        assert token.startswith(PREFIX)
        assert at.caller(token) == "anna"
        for pem in (at.other, None):
            with refused(Reason.TOKEN_BINDING):
                at.caller(token, pem)

    def test_it_says_to_what_it_is_bound(self, at: Exchanging) -> None:
        text = at.sign_in().removeprefix(PREFIX)
        claims = jwt.decode(text, options={"verify_signature": False})
        assert set(claims["cnf"]) == {"x5t#S256"}
        assert claims["exp"] - claims["iat"] == LIFETIME.total_seconds()

    def test_it_expires(self, at: Exchanging) -> None:
        token = at.sign_in()
        at.now += LIFETIME
        with refused(Reason.TOKEN_EXPIRED):
            at.caller(token)

    def test_it_ends_with_the_passkey(self, at: Exchanging) -> None:
        token = at.sign_in()
        for policy in (policy_of(None), policy_of(Authenticator("anna", "eddsa"))):
            at.policy = policy
            with refused(Reason.PRINCIPAL_UNKNOWN):
                at.caller(token)

    @pytest.mark.parametrize(
        ("reason", "changes"),
        [
            (Reason.WEBAUTHN_CHALLENGE, {"challenge": "AAAA"}),
            (Reason.WEBAUTHN_ORIGIN, {"origin": "https://console.example.com"}),
            (Reason.WEBAUTHN_RP_ID, {"rp_id": "example.com"}),
            (Reason.WEBAUTHN_USER, {"flags": PRESENT}),
            (Reason.SIGNATURE_INVALID, {"signed": b"something else"}),
            (Reason.WEBAUTHN_COUNTER, {"counter": 4}),
        ],
    )
    def test_what_is_wrong_is_refused(
        self, at: Exchanging, reason: Reason, changes: dict[str, Any]
    ) -> None:
        at.counters[ANNA.keyid] = 4
        with refused(reason):
            at.sign_in(**{"counter": 5, **changes})

    def test_a_passkey_that_nobody_has(self, at: Exchanging) -> None:
        with refused(Reason.PRINCIPAL_UNKNOWN):
            at.sign_in(Authenticator("arne"))


class TestChallenge:
    def answered(self, at: Exchanging) -> tuple[bytes, Assertion]:
        context: Any = ShownCertificate(at.console)
        challenge, _ = at.exchange.challenge(context)
        return challenge, ANNA.answer(challenge)

    def take(self, at: Exchanging, pem: bytes, challenge: bytes, answer: Assertion) -> None:
        context: Any = ShownCertificate(pem)
        at.exchange.by_passkey(context, ANNA.keyid, challenge, answer)

    def test_is_taken_once(self, at: Exchanging) -> None:
        challenge, answer = self.answered(at)
        self.take(at, at.console, challenge, answer)
        with refused(Reason.LOGIN_CHALLENGE):
            self.take(at, at.console, challenge, answer)

    def test_of_another_certificate(self, at: Exchanging) -> None:
        with refused(Reason.LOGIN_CHALLENGE):
            self.take(at, at.other, *self.answered(at))

    def test_that_has_ended(self, at: Exchanging) -> None:
        challenge, answer = self.answered(at)
        at.now += CHALLENGE_LIFETIME
        with refused(Reason.LOGIN_CHALLENGE):
            self.take(at, at.console, challenge, answer)

    @pytest.mark.parametrize("size", [0, 32, 56])
    def test_that_somebody_made_up(self, at: Exchanging, size: int) -> None:
        challenge = bytes(size)
        with refused(Reason.LOGIN_CHALLENGE):
            self.take(at, at.console, challenge, ANNA.answer(challenge))

    def test_without_a_certificate(self, at: Exchanging) -> None:
        context: Any = ShownCertificate(None)
        with refused(Reason.TOKEN_BINDING):
            at.exchange.challenge(context)


class TestByToken:
    def exchanged(self, at: Exchanging, token: str) -> str:
        context: Any = ShownCertificate(at.console)
        return at.exchange.by_token(context, token).text

    def test_it_becomes_one_that_is_bound(self, at: Exchanging) -> None:
        at.policy = policy_of(identity=f"jwt:{ISSUER} otto")
        token = self.exchanged(at, at.token())
        assert at.caller(token) == "otto"
        with refused(Reason.TOKEN_BINDING):
            at.caller(token, at.other)
        at.policy = policy_of()
        with refused(Reason.PRINCIPAL_UNKNOWN):
            at.caller(token)

    def test_it_ends_no_later(self, at: Exchanging) -> None:
        at.policy = policy_of(identity=f"jwt:{ISSUER} otto")
        token = self.exchanged(at, at.token(hours=0.5))
        at.now += timedelta(minutes=30)
        with refused(Reason.TOKEN_EXPIRED):
            at.caller(token)

    def test_of_nobody(self, at: Exchanging) -> None:
        with refused(Reason.PRINCIPAL_UNKNOWN):
            self.exchanged(at, at.token())

    def test_a_bound_token_is_not_exchanged_for_a_longer_one(self, at: Exchanging) -> None:
        token = at.sign_in()
        with refused(Reason.TOKEN_ALGORITHM):
            self.exchanged(at, token.removeprefix(PREFIX))
        with refused(Reason.TOKEN_MALFORMED):
            self.exchanged(at, token.replace(".", "", 1))


class TestForgery:
    def test_under_another_key(self, at: Exchanging) -> None:
        forger = BoundTokens(bytes(32), at.clock)
        at.authenticator.bound, own = forger, at.authenticator.bound
        token = at.sign_in()
        at.authenticator.bound = own
        with refused(Reason.TOKEN_SIGNATURE):
            at.caller(token)

    @pytest.mark.parametrize("algorithm", ["none", "HS256"])
    def test_signed_otherwise(self, at: Exchanging, algorithm: str) -> None:
        claims = jwt.decode(at.sign_in().removeprefix(PREFIX), options={"verify_signature": False})
        key = None if algorithm == "none" else MAC_KEY
        with refused(Reason.TOKEN_SIGNATURE):
            at.caller(PREFIX + jwt.encode(claims, key, algorithm=algorithm))

    def test_too_long(self, at: Exchanging) -> None:
        with refused(Reason.TOKEN_MALFORMED):
            at.caller(PREFIX + "a" * 5000)


def test_a_key_that_is_too_short() -> None:
    with pytest.raises(ValueError, match="shorter than 32 bytes"):
        BoundTokens(bytes(31), lambda: datetime.now(UTC))
