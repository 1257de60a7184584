"""A health check of a gateway by calls that any caller makes: models, policy and certificates."""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from cryptography import x509

from sealgate.client.client import Client, connect, options_of
from sealgate.health import golden_check
from sealgate.health.findings import CheckState, HealthFinding, refused_finding
from sealgate.health.golden_check import GoldenCheck
from sealgate.promotion.documents import Governance
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile, connection, reason_of
from sealgate.remote.calls import list_all
from sealgate.remote.connection import CallDetails
from sealgate.remote.errors import refusal_of
from sealgate.signed_version import policy_history
from sealgate.trust.policy import DEFAULT_ALIAS, SHADOW_ALIAS, Policy
from sealgate.trust.times import parse_time
from sealgate.v1.log_pb2 import GetCheckpointRequest, ListLogsRequest
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2 import ListModelsRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_HEALTH = "/grpc.health.v1.Health/Check"
# Of HealthCheckRequest, the tag of `service`, whose names are shorter than 128 bytes; and
# HealthCheckResponse(status=SERVING). Their module comes with servers alone.
_SERVICE = 0x0A
_SERVING = b"\x08\x01"
_HANDSHAKE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class CertificateLimits:
    """`days`: how many a certificate, or the policy, must last yet."""

    now: datetime
    days: int

    def lasts(self, check: str, subject: str, end: datetime) -> HealthFinding:
        left = end - self.now
        state = CheckState.WRONG if left < timedelta(days=self.days) else CheckState.WELL
        days = left / timedelta(days=1)
        numbers = {"end_timestamp_seconds": end.timestamp()}
        return HealthFinding(
            check, subject, state, f"{days:.1f} days left", {check: subject}, numbers
        )


def serving(channel: grpc.Channel, model: str = "") -> HealthFinding:
    """Check gRPC's health service for a model's `production`, or for the gateway as a whole.

    Raises grpc.RpcError.
    """
    service = f"models/{model}".encode() if model else b""
    request = bytes([_SERVICE, len(service)]) + service if model else b""
    ask: Any = channel.unary_unary(_HEALTH)
    answered = ask(request)
    state = CheckState.WELL if answered == _SERVING else CheckState.WRONG
    detail = "SERVING" if answered == _SERVING else "NOT_SERVING"
    return HealthFinding("serving", model or "gateway", state, detail)


def freshness(
    client: Client, model: str, version: int, policy: Policy, now: datetime
) -> HealthFinding:
    """Whether the registry's statement that a version is live is renewed in time.

    The gateway tells until when the version answers, the policy's grace included: an answer within
    the grace says that no newer statement has come. Raises SealgateError.
    """
    properties = client.metadata(model, version).properties
    until = parse_time(properties["covered_until"])
    grace = policy.rules.grace_seconds
    left = (until - now).total_seconds() - grace
    state = CheckState.WELL if left > 0 else CheckState.WRONG
    detail = f"covered for {left:.0f} s" if left > 0 else f"in its grace for {-left:.0f} s"
    numbers = {"end_timestamp_seconds": until.timestamp() - grace}
    labels = {"model": model, "version": str(version)}
    return HealthFinding("freshness", f"{model} {version}", state, detail, labels, numbers)


def timestamps(channel: grpc.Channel, now: datetime) -> Iterator[HealthFinding]:
    """How old the newest time stamp of each log is; nothing where the gateway asks for none.

    Raises grpc.RpcError.
    """
    logs = LogServiceStub(channel)
    try:
        origins = list(list_all(logs.ListLogs, ListLogsRequest(), "origins"))
    except grpc.RpcError as error:
        if reason_of(error) is Reason.ROLE_TOO_LOW or (
            error.code() is grpc.StatusCode.UNIMPLEMENTED
        ):
            # A gateway of an earlier release.
            return
        raise
    for origin in origins:
        told = logs.GetCheckpoint(GetCheckpointRequest(origin=origin))
        if not told.stamp_seconds:
            continue
        state, detail = CheckState.WRONG, "no time stamp yet"
        if told.stamped_time:
            age = now - parse_time(told.stamped_time)
            if age < timedelta(seconds=2 * told.stamp_seconds):
                state = CheckState.WELL
            detail = f"{told.stamped_size} entries stamped {age / timedelta(hours=1):.1f} hours ago"
        yield HealthFinding("timestamp", origin, state, detail, {"log": origin})


def certificates(person: Profile, bounds: CertificateLimits) -> Iterator[HealthFinding]:
    """Those of both ends of the connection, of each the leaf. Raises OSError where nobody is there,
    or who is there has none that the profile trusts.
    """
    shown = x509.load_der_x509_certificate(_shown(person))
    yield bounds.lasts("certificate", "gateway", shown.not_valid_after_utc)
    if person.certificate is not None:
        own = x509.load_pem_x509_certificate(person.certificate.read_bytes())
        yield bounds.lasts("certificate", "own", own.not_valid_after_utc)


def _shown(person: Profile) -> bytes:
    """The certificate, DER, that the gateway shows, once it has been verified."""
    context = ssl.create_default_context(cafile=str(person.server_authority))
    # gRPC's protocol; a server may hang up on others.
    context.set_alpn_protocols(["h2"])
    if person.certificate is not None:
        context.load_cert_chain(person.certificate, person.certificate_key)
    host, _, port = person.endpoint.rpartition(":")
    address = host.strip("[]"), int(port)
    with (
        socket.create_connection(address, _HANDSHAKE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=address[0]) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""


class _InTime(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        bounded = client_call_details.timeout or self._seconds
        return continuation(CallDetails.of(client_call_details, timeout=bounded), request)

    intercept_unary_stream = intercept_unary_unary


def in_time(channel: grpc.Channel, seconds: float) -> grpc.Channel:
    """The channel, whose calls to methods with one request take so long at most."""
    return grpc.intercept_channel(channel, _InTime(seconds))


# Where all aliases are asked, those that there are not, or that are not ours, are passed over.
_PASSED_OVER = frozenset({Reason.ALIAS_UNKNOWN, Reason.RIGHT_MISSING})
_ALL_MODELS = "all models"


@dataclass(frozen=True, slots=True)
class HealthOptions:
    """The options of a health check. `places` are models with an alias each; empty for all that may
    be asked.

    `rows`, `tolerance` and `timeout` are as of `GoldenCheck`, `days` as of `CertificateLimits`.
    """

    places: tuple[tuple[str, str], ...]
    rows: int
    tolerance: float
    timeout: float
    days: int


def check(
    person: Profile, wanted: HealthOptions, service: Profile | None = None
) -> list[HealthFinding]:
    """Check as `person`; `service`, of the role `rollback`, returns what the policy lets it.

    Raises nothing for a gateway that refuses or is not there: findings say so.
    """
    now = datetime.now(UTC)
    bounds = CertificateLimits(now, wanted.days)
    found = _tried("certificate", "gateway", lambda: certificates(person, bounds))
    with (
        connection.connect(person) as untimed,
        connect(person.endpoint, **options_of(person)) as client,
    ):
        channel = in_time(untimed, wanted.timeout)
        found += _tried("serving", "gateway", lambda: [serving(channel)])
        registry = RegistryServiceStub(channel)
        try:
            roots = person.pinned_roots(), person.root_threshold
            policies = policy_history(registry, *roots)
        except (grpc.RpcError, SealgateError) as error:
            return [*found, _failed("policy", "policy", error)]
        found += _tried("timestamp", "logs", lambda: timestamps(channel, now))
        found.append(bounds.lasts("policy", "policy", parse_time(policies[-1].expires)))
        ask = (wanted.rows, wanted.tolerance, wanted.timeout)
        golden = GoldenCheck(client, registry, policies, *ask)
        versions = VersionChecks(channel, golden, client, now, service)
        return [*found, *versions.findings(wanted.places)]


class VersionChecks:
    """The part of a check that is about what aliases name."""

    def __init__(
        self,
        channel: grpc.Channel,
        golden: GoldenCheck,
        client: Client,
        now: datetime,
        service: Profile | None,
    ) -> None:
        self._channel = channel
        self._golden = golden
        self._client = client
        self._now = now
        self._service = service
        self._policy = golden.policies[-1]

    def findings(self, places: tuple[tuple[str, str], ...]) -> Iterator[HealthFinding]:
        """Never none: that every alias was passed over says nothing of what they answer."""
        found = False
        for finding in self._found(places):
            found = True
            yield finding
        if not found:
            detail = "no alias answers that the policy lets us ask"
            yield HealthFinding(golden_check.GOLDEN_CHECK, _ALL_MODELS, CheckState.UNASKED, detail)

    def _found(self, places: tuple[tuple[str, str], ...]) -> Iterator[HealthFinding]:
        passed_over = frozenset[Reason]() if places else _PASSED_OVER
        try:
            for model, alias in places or list(self._all()):
                try:
                    yield from self._of(model, alias)
                except (grpc.RpcError, SealgateError) as error:
                    if _refusal(error).reason not in passed_over:
                        yield _failed(golden_check.GOLDEN_CHECK, f"{model}/{alias}", error)
        except (grpc.RpcError, SealgateError) as error:
            yield _failed(golden_check.GOLDEN_CHECK, _ALL_MODELS, error)

    def _all(self) -> Iterator[tuple[str, str]]:
        """Raises grpc.RpcError; RIGHT_MISSING where the policy lets us read of some models alone:
        those have to be named.
        """
        for model in list_all(self._golden.registry.ListModels, ListModelsRequest(), "models"):
            for alias in sorted(self._policy.rules.approvals):
                if alias != SHADOW_ALIAS:
                    yield model.name.partition("/")[2], alias

    def _of(self, model: str, alias: str) -> Iterator[HealthFinding]:
        """Raises like `GoldenCheck.of`."""
        asked = self._golden.of(model, alias)
        yield asked.found
        if alias == DEFAULT_ALIAS:
            yield from _tried("serving", model, lambda: [serving(self._channel, model)])
        version = asked.live.version
        yield from _tried(
            "freshness",
            f"{model} {version}",
            lambda: [freshness(self._client, model, version, self._policy, self._now)],
        )
        if self._service is not None and golden_check.differs(asked.found):
            yield from self._returned(asked, self._service)

    def _returned(
        self, asked: golden_check.GoldenOptions, service: Profile
    ) -> Iterator[HealthFinding]:
        live = asked.live
        times = golden_check.failures_allowed(self._policy, live.model, live.alias)
        if times is None:
            detail = "the policy's section health names no golden_failures of this alias"
            yield HealthFinding(
                golden_check.ROLLBACK_CHECK, live.subject, CheckState.UNASKED, detail
            )
            return

        def once_more() -> Iterable[HealthFinding]:
            last = golden_check.keeps_failing(asked.found, times, lambda: self._golden.again(asked))
            if not golden_check.differs(last):
                detail = f"not returned, asked again: {last.detail}"
                return [
                    HealthFinding(golden_check.ROLLBACK_CHECK, live.subject, last.state, detail)
                ]
            with connection.connect(service) as untimed:
                channel = in_time(untimed, self._golden.timeout)
                governance = Governance(channel, service, lambda: datetime.now(UTC))
                return [golden_check.return_alias(governance, live, last.detail)]

        yield from _tried(golden_check.ROLLBACK_CHECK, live.subject, once_more)


def _tried(
    check: str, subject: str, step: Callable[[], Iterable[HealthFinding]]
) -> list[HealthFinding]:
    """Return the findings of a step, or the error that it ended with."""
    try:
        return list(step())
    except (grpc.RpcError, SealgateError) as error:
        return [_failed(check, subject, error)]
    except ssl.SSLError as error:
        return [HealthFinding(check, subject, CheckState.WRONG, str(error))]
    except OSError as error:
        return [HealthFinding(check, subject, CheckState.UNASKED, str(error))]


def _failed(check: str, subject: str, error: grpc.RpcError | SealgateError) -> HealthFinding:
    return refused_finding(check, subject, _refusal(error))


def _refusal(error: grpc.RpcError | SealgateError) -> SealgateError:
    return refusal_of(error) if isinstance(error, grpc.RpcError) else error
