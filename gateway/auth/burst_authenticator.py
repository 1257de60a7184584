"""Authenticates the calls of a burst, looking once at what holds for all of them.

A token that was verified is known again by the SHA-256 of its `authorization` value, for as long as
its verification holds (`gateway.auth.tokens`), under the same policy and with the same key set.
Calls of a burst that share their metadata are one caller, as long as the policy stays. The policy
is looked at for each call, a key set once a burst, so a change holds for every call that comes
after it. API keys and certificates are looked up each time: the tables of what is revoked are in
memory.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple, Protocol, TypeAlias

import grpc

from gateway.auth.key_sets import KeySet, KeySource
from gateway.auth.tokens import VerifiedToken
from sealgate.trust.policy import Policy, Principal

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]


class KnownCaller(NamedTuple):
    """Whose token it is, by which policy."""

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
        """Raises as the authenticator's own does."""
        metadata = context.invocation_metadata()
        if context.auth_context():
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
        principal = self._authenticator.principal(context, policy)
        self._remember(digest, authorization, principal, policy)
        return principal

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
