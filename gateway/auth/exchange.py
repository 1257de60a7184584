"""Exchanges a passkey's assertion, or an issuer's token, for a token bound to the caller's
certificate. The caller shows a certificate; who they act for follows from the credential alone.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import grpc

from gateway.auth.authenticate import CallAuthenticator
from gateway.auth.bound_tokens import IDENTITY, LIFETIME, PASSKEY, BoundToken, BoundTokens
from gateway.auth.certificates import ClientCertificate
from gateway.auth.tokens import UnverifiedToken
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys.webauthn import Assertion, check_counter
from sealgate.trust.policy import Policy


class TokenExchange:
    """`policy` is the policy in force; `counters` the highest counter of each passkey."""

    def __init__(
        self,
        authenticator: CallAuthenticator,
        policy: Callable[[], Policy],
        counters: Callable[[], dict[str, int]],
        clock: Callable[[], datetime],
    ) -> None:
        self._authenticator = authenticator
        self._policy = policy
        self._counters = counters
        self._clock = clock

    def challenge(self, context: grpc.ServicerContext) -> tuple[bytes, datetime]:
        """Raises SealgateError: TOKEN_BINDING without a certificate, API_KEYS_OFF."""
        return self._bound.challenge(self._certificate(context))

    def by_passkey(
        self, context: grpc.ServicerContext, keyid: str, challenge: bytes, assertion: Assertion
    ) -> BoundToken:
        """The token of whoever's passkey has answered a challenge.

        1. The caller shows a certificate (TOKEN_BINDING).
        2. The policy lists the passkey as somebody's (PRINCIPAL_UNKNOWN).
        3. It answers the challenge (reasons of `Passkey.verify_challenge`), and its counter has
           grown since it last signed (WEBAUTHN_COUNTER).
        4. The challenge was made here for this certificate, and is taken once (LOGIN_CHALLENGE).
        """
        # 1.
        certificate = self._certificate(context)
        # 2.
        policy = self._policy()
        passkey, owner = policy.webauthn.keys.get(keyid), policy.holder(keyid)
        if passkey is None or owner is None:
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN, "by passkey")
        # 3.
        passkey.verify_challenge(assertion.encode(), challenge)
        check_counter(self._counters().get(keyid, 0), assertion.counter)
        # 4.
        self._bound.take_challenge(challenge, certificate)
        until = self._clock() + LIFETIME
        return self._bound.issue(owner.name, (PASSKEY, keyid), certificate, until)

    def by_token(self, context: grpc.ServicerContext, token: str) -> BoundToken:
        """The token of whoever an issuer's token names; it ends no later than that one.

        Raises SealgateError: TOKEN_BINDING without a certificate, PRINCIPAL_UNKNOWN, and reasons of
        `TokenVerifier.identity`.
        """
        certificate, policy = self._certificate(context), self._policy()
        identity = self._authenticator.tokens.identity(token, certificate, policy.digest)
        owner = policy.by_identity(identity)
        if owner is None:
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN)
        until = datetime.fromtimestamp(float(UnverifiedToken.read(token).claims["exp"]), UTC)
        return self._bound.issue(owner.name, (IDENTITY, identity), certificate, until)

    def _certificate(self, context: grpc.ServicerContext) -> ClientCertificate:
        certificate = ClientCertificate.of(context, self._clock())
        if certificate is None:
            raise SealgateError(Reason.TOKEN_BINDING, "no certificate to bind a token to")
        return certificate

    @property
    def _bound(self) -> BoundTokens:
        if self._authenticator.bound is None:
            raise SealgateError(Reason.API_KEYS_OFF)
        return self._authenticator.bound
