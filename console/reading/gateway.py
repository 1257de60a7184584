"""Calls to the gateway in one person's name, over one channel with the console's certificate.

Answers of the registry are kept while its log stays as it is.

Every change of the registry adds an entry to its log in the same transaction, so a checkpoint names
one state of the registry, policy and rights included. An answer under a checkpoint holds for its
reader as long as the gateway tells that very checkpoint, with the same token.

A gateway may take a moment to follow a new policy, and answers by the one before meanwhile. So
nothing is kept that is answered in the first seconds of a policy.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import grpc

from console.config import ConsoleTrustSettings, GatewaySettings
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Access
from sealgate.remote.connection import CHANNEL_OPTIONS, CallDetails
from sealgate.remote.errors import refusal_of
from sealgate.settings import ConfigError
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.keys import load_public_key
from sealgate.trust.policy import Policy, Principal, open_policy_history
from sealgate.trust.transparency import origin_of
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from sealgate.v1.credential_pb2 import (
    CreateBoundTokenRequest,
    CreateBoundTokenResponse,
    CreateLoginChallengeRequest,
    PasskeyAssertion,
)
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from sealgate.v1.log_pb2 import GetCheckpointRequest
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.outcome_pb2_grpc import OutcomeServiceStub
from sealgate.v1.registry_pb2 import GetPolicyRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

PRINCIPAL = "principal:"
"""The beginning of the identity of a person whom the gateway itself named by their passkey."""
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
            keys = [load_public_key(path) for path in trust.root_keys]
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
        self.answers = RegistryAnswers(clock)
        self.registry_log = ""

    def close(self) -> None:
        self._channel.close()

    def person(self, identity: str, token: str) -> "PersonCalls":
        """Calls with a person's token."""
        channel = grpc.intercept_channel(self._channel, _Bearer(token))
        return PersonCalls(self, channel, identity, sha256(token.encode()))

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
        policies = self._opened(envelopes)
        # The same under each policy of a registry.
        self.registry_log = origin_of(policies[-1].registry_log)
        return policies

    def _open(self, envelopes: tuple[bytes, ...]) -> tuple[Policy, ...]:
        chain = list(map(Envelope.decode, envelopes))
        return open_policy_history(chain, self._roots, self._threshold)


class PersonCalls:
    """The gateway's services, each call with the person's token; for one request of a browser.

    A call that is refused raises GatewayRefusal with the gateway's reason.
    """

    def __init__(
        self, gateway: GatewayChannel, channel: grpc.Channel, identity: str, token: str
    ) -> None:
        """`token` is the token's digest."""
        self.channel = channel
        self._gateway = gateway
        self._identity = identity
        self._token = token
        self._state = ""
        self.registry = RegistryServiceStub(channel)
        self.logs = LogServiceStub(channel)
        self.audit = AuditServiceStub(channel)
        self.credentials = CredentialServiceStub(channel)
        self.inference = GRPCInferenceServiceStub(channel)
        self.outcomes = OutcomeServiceStub(channel)

    @cached_property
    def policies(self) -> tuple[Policy, ...]:
        """Every policy, oldest first; the newest may have expired."""
        found = self.recall("GetPolicy", GetPolicyRequest()).envelopes
        return self._gateway.policies(tuple(found))

    @property
    def policy(self) -> Policy:
        return self.policies[-1]

    @cached_property
    def person(self) -> Principal:
        """The person who is looking. Raises SealgateError(PRINCIPAL_UNKNOWN)."""
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

    def begin(self, method: Any, request: Any) -> Callable[[], Any]:
        """Send a request now, so that others can be sent meanwhile; what is returned waits for its
        answer, and raises as `ask` does.
        """
        future = method.future(request, timeout=_SECONDS)

        def answer() -> Any:
            try:
                return future.result()
            except grpc.RpcError as error:
                raise refusal_of(error) from error

        return answer

    def recall(self, method: str, request: Any) -> Any:
        """The answer of a method of the registry's service that depends on nothing but the state of
        the registry: asked for, unless this state has answered it before.
        """
        return self.recall_all(method, [request])[0]

    def recall_all(self, method: str, requests: list[Any]) -> list[Any]:
        """Likewise for several requests; those that are asked for are sent at once."""
        answers = self._gateway.answers
        state = self._registry_state()
        keys = [
            AnswerKey(
                self._identity,
                self._token,
                state,
                method,
                request.SerializeToString(deterministic=True),
            )
            for request in requests
        ]
        found = {key: answers.find(key) if state else None for key in keys}
        wanted = {k: request for k, request in zip(keys, requests, strict=True) if not found[k]}
        asked = self._ask_each(getattr(self.registry, method), list(wanted.values()))
        found |= zip(wanted, asked, strict=True)
        # The policy itself is answered by the registry's state, whatever the gateway follows.
        if state and wanted and (method == "GetPolicy" or answers.has_settled(self.policy.digest)):
            for key in wanted:
                answers.keep(key, found[key])
        return [found[key] for key in keys]

    def _registry_state(self) -> str:
        """The state of the registry when this page first asked; empty before its log is known."""
        origin = self._gateway.registry_log
        if origin and not self._state:
            request = GetCheckpointRequest(origin=origin)
            self._state = state_of(self.ask(self.logs.GetCheckpoint, request).note)
        return self._state

    def _ask_each(self, method: Any, requests: list[Any]) -> list[Any]:
        if len(requests) == 1:
            return [self.ask(method, requests[0])]
        return self.ask_all(method, requests)

    def ask_all(self, method: Any, requests: list[Any], *absent: Reason) -> list[Any]:
        """The answers to requests that are sent at once; None for those refused as `absent`."""
        begun = [self.begin(method, request) for request in requests]
        answers: list[Any] = []
        for answer in begun:
            try:
                answers.append(answer())
            except SealgateError as refusal:
                if refusal.reason not in absent:
                    raise
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


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """A reader, their question, and the state of the registry that it was about. `token` is a
    digest; `state` is the log's origin, size and root hash.
    """

    identity: str
    token: str
    state: str
    method: str
    request: bytes


class RegistryAnswers:
    """The answers that were asked for last; for a minute, since a gateway's own settings may also
    say what it answers. Safe for many threads.
    """

    MOST: ClassVar[int] = 256
    KEPT: ClassVar[timedelta] = timedelta(minutes=1)
    SETTLED: ClassVar[timedelta] = timedelta(seconds=5)

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[AnswerKey, tuple[datetime, Any]] = {}
        self._policy: tuple[str, datetime] = ("", clock())

    def has_settled(self, policy: str) -> bool:
        """Whether the newest policy, by its digest, has been that for long enough."""
        now = self._clock()
        digest, since = self._policy
        if digest != policy:
            self._policy = policy, now
            return False
        return now - since >= self.SETTLED

    def find(self, key: AnswerKey) -> Any:
        """The answer, or None. It is shared, so nobody may change it."""
        since, answer = self._kept.get(key, (None, None))
        return answer if since is not None and since + self.KEPT > self._clock() else None

    def keep(self, key: AnswerKey, answer: Any) -> None:
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= self.MOST:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = (self._clock(), answer)


def state_of(note: str) -> str:
    """The state of a log in a checkpoint: origin, size and root hash, without signatures."""
    return note.partition("\n\n")[0]
