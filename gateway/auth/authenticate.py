"""Who is calling: a token or API key, a client certificate, or two for the same principal."""

import logging
from collections.abc import Callable
from datetime import datetime

import grpc

from gateway.auth import bound_tokens
from gateway.auth.api_keys import PREFIX, ApiKeyMaker, KeyTable
from gateway.auth.bound_tokens import BoundTokens
from gateway.auth.certificates import ClientCertificate
from gateway.auth.remote_keys import Fetcher, RemoteKeys, Schedule, by_discovery, from_url
from gateway.auth.tokens import Issuer, TokenVerifier, VerifiedToken
from gateway.config.document import GatewayConfig
from gateway.config.sections import TokenIssuer
from registry.registry import Registry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Policy, Principal

_log = logging.getLogger(__name__)

_SCHEME = "bearer "


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
        """Raises: ValueError for a key set that is not accepted, SealgateError for an exposed
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

    def _bearer_principal(
        self, bearer: str, certificate: ClientCertificate | None, policy: Policy
    ) -> Principal:
        if self.bound is not None and bearer.startswith(bound_tokens.PREFIX):
            return self.bound.principal(bearer, certificate, policy)
        if bearer.startswith(PREFIX):
            return policy.principal(self.api_keys.holder(bearer, policy.rules.freshness_seconds))
        return _lookup(policy, self.tokens.identity(bearer, certificate, policy.digest))


def issuer(entry: TokenIssuer) -> Issuer:
    """An issuer as configured. Raises: ValueError for a file that is not accepted."""
    if entry.key_set is not None:
        return Issuer.from_file(entry.url, entry.audience, entry.key_set)
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
