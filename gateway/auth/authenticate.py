"""Authenticates callers: a token or API key, a client certificate, or two for the same principal.

A burst's calls are authenticated together. A token that was verified is known again by the SHA-256
of its `authorization` value, for as long as its verification holds (`gateway.auth.tokens`), under
the same policy and with the same key set. Calls that share their metadata are one caller, as long
as the policy stays. The policy is looked at for each call, a key set once a burst, so a change
holds for every call that comes after it. API keys and certificates are looked up each time: the
tables of what is revoked are in memory. A call that may wait for an issuer's keys is left to
another thread.

A passkey's assertion, or an issuer's token, is exchanged for a token bound to the caller's
certificate. The credential alone determines the person that they act for.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple, Protocol, TypeAlias

import grpc

from gateway.auth import certificates
from gateway.auth.api_keys import PREFIX, ApiKeyMaker, KeyTable
from gateway.auth.certificates import (
    IDENTITY,
    LIFETIME,
    PASSKEY,
    BoundToken,
    BoundTokens,
    ClientCertificate,
)
from gateway.auth.key_sets import KeySet, KeySource
from gateway.auth.remote_keys import Fetcher, RemoteKeys, Schedule, by_discovery, from_url
from gateway.auth.tokens import Issuer, TokenVerifier, UnverifiedToken, VerifiedToken
from gateway.config.document import GatewayConfig
from gateway.config.sections import TokenIssuer
from registry.registry import Registry
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.keys.webauthn import Assertion, check_counter
from sealgate.trust.policy import Policy, Principal

_log = logging.getLogger(__name__)

_SCHEME = "bearer "
Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


class CallAuthenticator:
    """Turns a call's credentials into a principal of the policy.

    Metadata that claims an identity in any other way is not read at all.
    """

    def __init__(
        self,
        tokens: TokenVerifier,
        api_keys: KeyTable,
        clock: Callable[[], datetime],
        bound: BoundTokens | None = None,
    ) -> None:
        """`clock` says whether a client certificate is still valid."""
        self.tokens = tokens
        self.bound = bound
        self.api_keys = api_keys
        self._clock = clock

    @classmethod
    def of(cls, config: GatewayConfig, clock: Callable[[], datetime]) -> "CallAuthenticator":
        """Raises: ConfigError for a key set that is not accepted, SealgateError for an exposed
        file.
        """
        path = config.api_keys.mac_key
        maker = None if path is None else ApiKeyMaker.from_file(path)
        tokens = TokenVerifier([issuer(entry) for entry in config.tokens])
        bound = None if path is None else BoundTokens.from_file(path, clock)
        return cls(tokens, KeyTable(maker), clock, bound)

    def start(self, registry: Registry) -> None:
        """Begin to fetch issuers' keys, and to follow the registry's API keys."""
        self.api_keys.start(registry)
        self.tokens.start()

    def close(self) -> None:
        self.tokens.close()
        self.api_keys.close()

    def principal(self, context: grpc.ServicerContext, policy: Policy) -> Principal:
        """Raises: CREDENTIAL_MISSING, CREDENTIAL_AMBIGUOUS, PRINCIPAL_UNKNOWN, TOKEN_, API_KEY_ and
        CERTIFICATE_ reasons.
        """
        certificate = ClientCertificate.of(context, self._clock())
        bearer = _bearer(context)
        found: list[Principal] = []
        if certificate is not None and certificate.identity is not None:
            found.append(_lookup(policy, certificate.identity))
        if bearer is not None:
            found.append(self._bearer_principal(bearer, certificate, policy))
        if not found:
            raise SealgateError(Reason.CREDENTIAL_MISSING)
        if found[0].name != found[-1].name:
            raise SealgateError(Reason.CREDENTIAL_AMBIGUOUS, "token and certificate differ")
        return found[0]

    def verified_token(self, authorization: str) -> VerifiedToken | None:
        """The token of an `authorization` value, if it was verified within the last minute."""
        return self.tokens.known(authorization[len(_SCHEME) :])

    def may_wait(self, authorization: str) -> bool:
        """Whether `principal` may wait for an issuer's keys because of an `authorization` value."""
        value = authorization[len(_SCHEME) :]
        return not value.startswith((PREFIX, certificates.PREFIX)) and self.tokens.may_wait(value)

    def _bearer_principal(
        self, bearer: str, certificate: ClientCertificate | None, policy: Policy
    ) -> Principal:
        if self.bound is not None and bearer.startswith(certificates.PREFIX):
            return self.bound.principal(bearer, certificate, policy)
        if bearer.startswith(PREFIX):
            return policy.principal(self.api_keys.holder(bearer, policy.rules.freshness_seconds))
        return _lookup(policy, self.tokens.identity(bearer, certificate, policy.digest))


def issuer(entry: TokenIssuer) -> Issuer:
    """An issuer as configured. Raises: ConfigError for a file that is not accepted."""
    if entry.key_set is not None:
        try:
            return Issuer.from_file(entry.url, entry.audience, entry.key_set)
        except ValueError as error:
            raise ConfigError(f"[[tokens]] key_set = {error}") from error
    if entry.insecure_loopback:
        _log.warning("the keys of %s may be fetched WITHOUT TLS, on loopback only", entry.url)
    fetcher = Fetcher(entry.authority, entry.insecure_loopback)
    fetch = (
        by_discovery(fetcher, entry.url)
        if entry.discovery
        else from_url(fetcher, entry.key_set_url)
    )
    schedule = Schedule(refresh=entry.refresh, stale=entry.stale)
    return Issuer(entry.url, entry.audience, RemoteKeys(entry.url, fetch, schedule))


def _lookup(policy: Policy, identity: str) -> Principal:
    principal = policy.by_identity(identity)
    if principal is None:
        raise SealgateError(Reason.PRINCIPAL_UNKNOWN)
    return principal


def _bearer(context: grpc.ServicerContext) -> str | None:
    """The token or API key of the one `authorization` value."""
    values = [value for key, value in context.invocation_metadata() if key == "authorization"]
    if not values:
        return None
    if len(values) > 1:
        raise SealgateError(Reason.CREDENTIAL_AMBIGUOUS, "several authorization values")
    value = values[0]
    if not isinstance(value, str) or not value[: len(_SCHEME)].lower() == _SCHEME:
        raise SealgateError(Reason.TOKEN_MALFORMED, "not a bearer credential")
    return value[len(_SCHEME) :]


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


class KnownCaller(NamedTuple):
    """A token's principal, and the policy that named it."""

    principal: Principal
    policy: Policy
    token: VerifiedToken


class TokenAuthenticator(Protocol):
    def principal(self, context: grpc.ServicerContext, policy: Policy) -> Principal:
        """Raises SealgateError: why the caller is nobody."""
        ...

    def verified_token(self, authorization: str) -> VerifiedToken | None:
        """The token of an `authorization` value, if it was verified."""
        ...

    def may_wait(self, authorization: str) -> bool:
        """Whether `principal` may wait for an issuer's keys because of an `authorization` value."""
        ...


class KeysAwaitedError(Exception):
    """The caller is unknown until an issuer's keys have been fetched again."""


class BurstAuthenticator:
    """An `Authenticator` for one thread. `begin` comes before each burst."""

    MOST: ClassVar[int] = 10_000

    def __init__(
        self, authenticator: TokenAuthenticator, clock: Callable[[], float] = time.time
    ) -> None:
        """`clock` is that of tokens, in seconds of the epoch."""
        self._authenticator = authenticator
        self._clock = clock
        self._now = 0.0
        self._key_sets: dict[KeySource, KeySet] = {}
        self._known: dict[bytes, KnownCaller] = {}
        # Of this burst: the metadata that was read last, the policy, and whose token it was. It is
        # kept, so no other metadata can be taken for it.
        self._last: tuple[object, Policy | None, Principal | None] = (None, None, None)

    def begin(self) -> None:
        """Look again at the time, and at key sets when one is needed."""
        self._now = self._clock()
        self._key_sets.clear()
        self._last = (None, None, None)

    def principal(self, context: grpc.ServicerContext, policy: Policy) -> Principal:
        """Raises as the authenticator's own does; KeysAwaitedError where that might wait."""
        metadata = context.invocation_metadata()
        if context.auth_context():
            self._check_ready(_authorization_in(metadata))
            return self._authenticator.principal(context, policy)
        read, under, last = self._last
        if last is not None and read is metadata and under is policy:
            return last
        authorization = _authorization_in(metadata)
        if authorization is None:
            return self._authenticator.principal(context, policy)
        digest = hashlib.sha256(authorization.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(digest)
        if known is not None and self._holds(known, policy):
            self._last = metadata, policy, known.principal
            return known.principal
        self._check_ready(authorization)
        principal = self._authenticator.principal(context, policy)
        self._remember(digest, authorization, principal, policy)
        return principal

    def _check_ready(self, authorization: str | None) -> None:
        if authorization is not None and self._authenticator.may_wait(authorization):
            raise KeysAwaitedError

    def _holds(self, known: KnownCaller, policy: Policy) -> bool:
        token = known.token
        if known.policy is not policy or self._now >= token.until:
            return False
        key_set = self._key_sets.get(token.source)
        if key_set is None:
            key_set = self._key_sets[token.source] = token.source.current()
        return key_set is token.key_set

    def _remember(
        self, digest: bytes, authorization: str, principal: Principal, policy: Policy
    ) -> None:
        token = self._authenticator.verified_token(authorization)
        if token is None or token.confirmation is not None:
            return
        self._known.pop(digest, None)
        while len(self._known) >= self.MOST:
            del self._known[next(iter(self._known))]
        self._known[digest] = KnownCaller(principal, policy, token)


def _authorization_in(metadata: Metadata) -> str | None:
    """The one `authorization` value; None where there are none or several."""
    found: str | None = None
    for key, value in metadata:
        if key == "authorization":
            if found is not None or not isinstance(value, str):
                return None
            found = value
    return found
