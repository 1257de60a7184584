"""Calls to the gateway in one person's name, over one channel with the console's certificate."""

from collections.abc import Callable
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

import grpc

from console.config import ConsoleTrustSettings, GatewaySettings
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Access
from sealgate.remote.connection import CHANNEL_OPTIONS, CallDetails
from sealgate.remote.errors import refusal_of
from sealgate.settings import ConfigError
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import PublicKey
from sealgate.trust.policy import Policy, Principal, open_policy_history
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from sealgate.v1.credential_pb2 import (
    CreateBoundTokenRequest,
    CreateBoundTokenResponse,
    CreateLoginChallengeRequest,
    PasskeyAssertion,
)
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.outcome_pb2_grpc import OutcomeServiceStub
from sealgate.v1.registry_pb2 import GetPolicyRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

PRINCIPAL = "principal:"
"""What the identity of those begins with whom the gateway itself named by their passkey."""
_SECONDS = 30.0


class GatewayChannel:
    """The channel, and the pinned root keys by which policies are believed."""

    def __init__(
        self, settings: GatewaySettings, trust: ConsoleTrustSettings, clock: Callable[[], datetime]
    ) -> None:
        """Raises: ConfigError for a certificate that names somebody, or a file that is no key."""
        self.clock = clock
        try:
            certificate = settings.certificate.read_bytes()
            access = Access(
                settings.endpoint,
                settings.authority.read_bytes(),
                certificate=certificate,
                certificate_key=settings.key.read_bytes(),
            )
            keys = [PublicKey.from_pem(path.read_text()) for path in trust.root_keys]
        except (OSError, SealgateError) as error:
            raise ConfigError(f"[gateway] or [trust]: {error}") from error
        if named := access.identities():
            raise ConfigError(
                f"[gateway] certificate is that of {named[0]}: the console needs one that names "
                "nobody, for each call is made in the name of who looks at the page"
            )
        self.certificate = certificate
        self._roots = {key.keyid: key for key in keys}
        self._threshold = trust.threshold
        self._channel = grpc.secure_channel(access.endpoint, access.credentials(), CHANNEL_OPTIONS)
        self._credentials = CredentialServiceStub(self._channel)
        self._opened = lru_cache(8)(self._open)

    def close(self) -> None:
        self._channel.close()

    def person(self, identity: str, token: str) -> "PersonCalls":
        """Calls with a person's token."""
        return PersonCalls(self, grpc.intercept_channel(self._channel, _Bearer(token)), identity)

    def login_challenge(self) -> bytes:
        """A challenge for a passkey, good for two minutes. Raises GatewayRefusal."""
        try:
            request = CreateLoginChallengeRequest()
            found = self._credentials.CreateLoginChallenge(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            raise refusal_of(error) from error
        return bytes(found.challenge)

    def passkey_token(self, assertion: PasskeyAssertion) -> CreateBoundTokenResponse:
        """The token for an answered challenge, bound to the console's certificate. Raises
        GatewayRefusal.
        """
        try:
            request = CreateBoundTokenRequest(assertion=assertion)
            return self._credentials.CreateBoundToken(request, timeout=_SECONDS)
        except grpc.RpcError as error:
            raise refusal_of(error) from error

    def policies(self, envelopes: tuple[bytes, ...]) -> tuple[Policy, ...]:
        """The chain, oldest first, verified from the pinned root keys. Raises SealgateError."""
        return self._opened(envelopes)

    def _open(self, envelopes: tuple[bytes, ...]) -> tuple[Policy, ...]:
        chain = list(map(Envelope.decode, envelopes))
        return open_policy_history(chain, self._roots, self._threshold)


class PersonCalls:
    """The gateway's services, each call with the person's token; for one request of a browser.

    A call that is refused raises GatewayRefusal with the gateway's reason.
    """

    def __init__(self, gateway: GatewayChannel, channel: grpc.Channel, identity: str) -> None:
        self.channel = channel
        self._gateway = gateway
        self._identity = identity
        self.registry = RegistryServiceStub(channel)
        self.logs = LogServiceStub(channel)
        self.audit = AuditServiceStub(channel)
        self.credentials = CredentialServiceStub(channel)
        self.inference = GRPCInferenceServiceStub(channel)
        self.outcomes = OutcomeServiceStub(channel)

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """Every policy, oldest first; the newest may have expired."""
        found = self.ask(self.registry.GetPolicy, GetPolicyRequest()).envelopes
        return self._gateway.policies(tuple(found))

    @property
    def policy(self) -> Policy:
        return self.policies[-1]

    @cached_property
    def person(self) -> Principal:
        """Who is looking. Raises SealgateError(PRINCIPAL_UNKNOWN)."""
        if self._identity.startswith(PRINCIPAL):
            return self.policy.principal(self._identity.removeprefix(PRINCIPAL))
        found = self.policy.by_identity(self._identity)
        if found is None:
            raise SealgateError(Reason.PRINCIPAL_UNKNOWN, self._identity)
        return found

    def ask(self, method: Callable[..., Any], request: Any, seconds: float = _SECONDS) -> Any:
        try:
            return method(request, timeout=seconds)
        except grpc.RpcError as error:
            raise refusal_of(error) from error

    def ask_all(self, method: Any, requests: list[Any], *absent: Reason) -> list[Any]:
        """The answers to requests that are sent at once; None for those refused as `absent`."""
        futures = [method.future(request, timeout=_SECONDS) for request in requests]
        answers: list[Any] = []
        for future in futures:
            try:
                answers.append(future.result())
            except grpc.RpcError as error:
                refusal = refusal_of(error)
                if refusal.reason not in absent:
                    raise refusal from error
                answers.append(None)
        return answers


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Adds the token to every call."""

    def __init__(self, token: str) -> None:
        self._credential = (("authorization", f"Bearer {token}"),)

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._with_token(details), request)

    def _with_token(self, details: Any) -> CallDetails:
        return CallDetails.of(details, metadata=(*(details.metadata or ()), *self._credential))
