"""One check of a gateway from its callers' side: all is asked as any other caller asks it."""

import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc

from sealgate import remote
from sealgate.checkup import answers, returning, surroundings
from sealgate.checkup.answers import GoldenCheck
from sealgate.checkup.calls import in_time
from sealgate.checkup.finding import Finding, State, refused
from sealgate.checkup.surroundings import Bounds
from sealgate.client.blocking import Client
from sealgate.client.connection import connect, options_of
from sealgate.client.refused import refusal_of
from sealgate.governance import Governance
from sealgate.listing import every
from sealgate.reasons import Reason, Refusal
from sealgate.remote import Profile
from sealgate.signed_version import policy_history
from sealgate.trust.policy import DEFAULT_ALIAS
from sealgate.trust.policy.shares import SHADOW
from sealgate.trust.times import parse_time
from sealgate.v1.registry_pb2 import ListModelsRequest
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

# Where all aliases are asked, those that there are not, or that are not ours, are passed over.
_PASSED_OVER = frozenset({Reason.ALIAS_UNKNOWN, Reason.RIGHT_MISSING})
_ALL_MODELS = "all models"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to check. `places` are models with an alias each; empty for all that may be asked.

    `rows`, `tolerance` and `timeout` are as of `GoldenCheck`, `days` as of `Bounds`.
    """

    places: tuple[tuple[str, str], ...]
    rows: int
    tolerance: float
    timeout: float
    days: int


def check(person: Profile, wanted: Wanted, service: Profile | None = None) -> list[Finding]:
    """Check as `person`; `service`, of the role `rollback`, returns what the policy lets it.

    Raises nothing for a gateway that refuses or is not there: findings say so.
    """
    now = datetime.now(UTC)
    bounds = Bounds(now, wanted.days)
    found = _tried("certificate", "gateway", lambda: surroundings.certificates(person, bounds))
    with (
        remote.connect(person) as untimed,
        connect(person.endpoint, **options_of(person)) as client,
    ):
        channel = in_time(untimed, wanted.timeout)
        found += _tried("serving", "gateway", lambda: [surroundings.serving(channel)])
        registry = RegistryServiceStub(channel)
        try:
            roots = person.pinned_roots(), person.root_threshold
            policies = policy_history(registry, *roots)
        except (grpc.RpcError, Refusal) as error:
            return [*found, _failed("policy", "policy", error)]
        found.append(bounds.lasts("policy", "policy", parse_time(policies[-1].expires)))
        ask = (wanted.rows, wanted.tolerance, wanted.timeout)
        golden = GoldenCheck(client, registry, policies, *ask)
        versions = Versions(channel, golden, client, now, service)
        return [*found, *versions.findings(wanted.places)]


class Versions:
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

    def findings(self, places: tuple[tuple[str, str], ...]) -> Iterator[Finding]:
        """Never none: that every alias was passed over says nothing of what they answer."""
        found = False
        for finding in self._found(places):
            found = True
            yield finding
        if not found:
            detail = "no alias answers that the policy lets us ask"
            yield Finding(answers.CHECK, _ALL_MODELS, State.UNASKED, detail)

    def _found(self, places: tuple[tuple[str, str], ...]) -> Iterator[Finding]:
        passed_over = frozenset[Reason]() if places else _PASSED_OVER
        try:
            for model, alias in places or list(self._all()):
                try:
                    yield from self._of(model, alias)
                except (grpc.RpcError, Refusal) as error:
                    if _refusal(error).reason not in passed_over:
                        yield _failed(answers.CHECK, f"{model}/{alias}", error)
        except (grpc.RpcError, Refusal) as error:
            yield _failed(answers.CHECK, _ALL_MODELS, error)

    def _all(self) -> Iterator[tuple[str, str]]:
        """Raises grpc.RpcError; RIGHT_MISSING where the policy lets us read of some models alone:
        those have to be named.
        """
        for model in every(self._golden.registry.ListModels, ListModelsRequest(), "models"):
            for alias in sorted(self._policy.rules.approvals):
                if alias != SHADOW:
                    yield model.name.partition("/")[2], alias

    def _of(self, model: str, alias: str) -> Iterator[Finding]:
        """Raises like `GoldenCheck.of`."""
        asked = self._golden.of(model, alias)
        yield asked.found
        if alias == DEFAULT_ALIAS:
            yield from _tried(
                "serving", model, lambda: [surroundings.serving(self._channel, model)]
            )
        version = asked.live.version
        yield from _tried(
            "freshness",
            f"{model} {version}",
            lambda: [surroundings.freshness(self._client, model, version, self._policy, self._now)],
        )
        if self._service is not None and returning.differs(asked.found):
            yield from self._returned(asked, self._service)

    def _returned(self, asked: answers.Asked, service: Profile) -> Iterator[Finding]:
        live = asked.live
        times = returning.failures_allowed(self._policy, live.model, live.alias)
        if times is None:
            detail = "the policy's section health names no golden_failures of this alias"
            yield Finding(returning.CHECK, live.subject, State.UNASKED, detail)
            return

        def once_more() -> Iterable[Finding]:
            last = returning.keeps_failing(asked.found, times, lambda: self._golden.again(asked))
            if not returning.differs(last):
                detail = f"not returned, asked again: {last.detail}"
                return [Finding(returning.CHECK, live.subject, last.state, detail)]
            with remote.connect(service) as untimed:
                channel = in_time(untimed, self._golden.timeout)
                governance = Governance(channel, service, lambda: datetime.now(UTC))
                return [returning.return_alias(governance, live, last.detail)]

        yield from _tried(returning.CHECK, live.subject, once_more)


def _tried(check: str, subject: str, step: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """What the step finds, or why it could not."""
    try:
        return list(step())
    except (grpc.RpcError, Refusal) as error:
        return [_failed(check, subject, error)]
    except ssl.SSLError as error:
        return [Finding(check, subject, State.WRONG, str(error))]
    except OSError as error:
        return [Finding(check, subject, State.UNASKED, str(error))]


def _failed(check: str, subject: str, error: grpc.RpcError | Refusal) -> Finding:
    return refused(check, subject, _refusal(error))


def _refusal(error: grpc.RpcError | Refusal) -> Refusal:
    return refusal_of(error) if isinstance(error, grpc.RpcError) else error
