"""Reads the metrics' values when somebody asks, from where the work is counted anyway.

So a request costs the same whether anybody asks or not. A version's numbers begin at 0 when it is
loaded and go when no alias names it, as `ModelStatistics`' do.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway.observability import families
from gateway.observability.certificates import Certificates
from gateway.observability.engine import (
    Labels,
    batch_times,
    faults,
    filled,
    ready,
    seconds,
    sized,
    spread,
    timed,
)
from gateway.observability.readiness import GatewayReadiness, metrics_listener
from gateway.outcomes import OutcomeBook
from gateway.recording import AuditRecorder
from gateway.timestamps import StampedLog
from inference.engine import Duration, Engine, LiveVersion, Statistics, VersionStatistics
from sealgate.network.metrics_listener import MetricsListener
from sealgate.settings import MetricsSettings
from sealgate.trust.statements import review_end
from sealgate.trust.times import parse_time

_log = logging.getLogger(__name__)


_SESSIONS = ("search", "extraction")


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are. `unresolved` has the requests that came to no version, `refusals`
    those of the auth interceptor by whether they were recorded, `http_answers` what the HTTP
    gateway answered by status, `registry_size` the entries of the registry's log, from memory;
    `withdrawn` says of a version's digest when its screening's bound was, and what sessions looked
    like and led to is counted by model and kind, and by model and action. `stamps` has the newest
    time stamp of each log, which comes every `stamp_seconds`.
    """

    engine: Engine
    unresolved: Statistics
    refusals: Mapping[str, Counter[str]]
    http_answers: Counter[str]
    recorder: AuditRecorder
    registry_size: Callable[[], int]
    withdrawn: Callable[[str], str]
    session_findings: Counter[tuple[str, str]]
    session_actions: Counter[tuple[str, str]]
    outcomes: OutcomeBook
    certificates: Certificates
    readiness: GatewayReadiness
    stamps: Callable[[], Mapping[str, StampedLog | None]]
    stamp_seconds: float


class GatewayCollector(Collector):
    """What Prometheus' client asks for the metrics."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    def collect(self) -> Iterable[Metric]:
        """Every family of `families.FAMILIES`, in that order."""
        places = self._from.engine.live()
        reports: dict[Labels, VersionStatistics] = {
            (live.model, str(live.version)): live.report() for live in places.values()
        }
        yield from self._requests(reports)
        yield from _batches(reports)
        yield from self._screening(places)
        yield from self._outcomes(places)
        yield from _tokens(reports)
        yield faults(families.FAULTS, reports)
        yield from _pointers(places)
        yield from self._standing()
        yield from self._records()
        certificates = self._from.certificates
        ends = {(name,): end.timestamp() for name, end in certificates.expiries().items()}
        yield filled(families.CERTIFICATE_END, ends)
        renewed = {(result,): count for result, count in certificates.renewed().items()}
        yield filled(families.CERTIFICATE_RENEWALS, renewed)
        yield filled(families.READY, {(): float(not self._from.readiness.obstacle())})

    def _requests(self, reports: Mapping[Labels, VersionStatistics]) -> Iterator[Metric]:
        unresolved = self._from.unresolved.report(Duration())
        found = {
            (*key, *ending): duration
            for key, report in [*reports.items(), (("", ""), unresolved)]
            for ending, duration in report.requests.items()
        }
        yield filled(families.REQUESTS, {key: each.count for key, each in found.items()})
        yield filled(families.REQUEST_SECONDS, {key: seconds(d) for key, d in found.items()})

    def _screening(self, places: Mapping[tuple[str, str], LiveVersion]) -> Iterator[Metric]:
        withdrawn = {
            (live.model, str(live.version)): float(bool(self._from.withdrawn(live.digest)))
            for live in places.values()
        }
        yield filled(families.SCREENING_WITHDRAWN, withdrawn)
        # From 0 on, or the first would be no increase to Prometheus.
        none = {(live.model, kind): 0 for live in places.values() for kind in _SESSIONS}
        yield filled(families.SESSION_FINDINGS, none | dict(self._from.session_findings))
        yield filled(families.SESSION_ACTIONS, dict(self._from.session_actions))

    def _outcomes(self, places: Mapping[tuple[str, str], LiveVersion]) -> Iterator[Metric]:
        """Of live promotions of which outcomes are known."""
        book = self._from.outcomes
        counts = {(reason,): count for reason, count in dict(book.counted).items()}
        yield filled(families.OUTCOME_REPORTS, counts)
        live = {
            (each.promotion.model, each.promotion.alias, str(each.promotion.version)): each
            for each in book.current()
        }
        known = {key: each.window for key, each in live.items() if len(each.window)}
        yield filled(families.OUTCOMES, {key: len(each) for key, each in known.items()})
        accuracy = {key: each.accuracy for key, each in known.items()}
        yield filled(families.OUTCOME_ACCURACY, accuracy)
        errors = {key: each.ece for key, each in known.items()}
        told = {key: error for key, error in errors.items() if error is not None}
        yield filled(families.OUTCOME_CALIBRATION, told)
        drifted = {key: each.columns[0].psi for key, each in live.items() if each.columns}
        yield filled(families.COLUMN_DRIFT, drifted)
        passed = {place: float(place in book.passed) for place in places}
        yield filled(families.OUTCOME_LIMIT, passed)

    def _standing(self) -> Iterator[Metric]:
        """The engine's trust state."""
        engine = self._from.engine
        yield filled(families.VERSION_READY, ready(engine))
        policy = engine.policy
        version = {(): policy.version} if policy else {}
        end = {(): parse_time(policy.expires).timestamp()} if policy else {}
        yield filled(families.POLICY_VERSION, version)
        yield filled(families.POLICY_END, end)
        reviews = {
            place: review.timestamp()
            for place, live in engine.live().items()
            if policy is not None
            if (review := review_end(live.bundle, policy)) is not None
        }
        yield filled(families.REVIEW_END, reviews)

    def _records(self) -> Iterator[Metric]:
        refusals = {
            (reason, recorded): count
            for recorded, counted in self._from.refusals.items()
            # A copy, made in one step: callers go on being refused meanwhile.
            for reason, count in dict(counted).items()
        }
        yield filled(families.CALL_REFUSALS, refusals)
        yield filled(families.DOOR_REFUSALS, refusals)
        answers = {(status,): n for status, n in dict(self._from.http_answers).items()}
        yield filled(families.HTTP_ANSWERS, answers)
        recorder = self._from.recorder
        sizes = {("answers",): recorder.size, ("registry",): self._from.registry_size()}
        yield filled(families.LOG_ENTRIES, sizes)
        stamps = self._from.stamps()
        times = {(log,): each.time.timestamp() if each else 0.0 for log, each in stamps.items()}
        yield filled(families.STAMPED, times)
        yield filled(families.STAMP_INTERVAL, dict.fromkeys(times, self._from.stamp_seconds))
        yield timed(families.COMMIT_SECONDS, {(): recorder.commits})


def _batches(reports: Mapping[Labels, VersionStatistics]) -> Iterator[Metric]:
    yield timed(families.QUEUE_SECONDS, {key: each.queue for key, each in reports.items()})
    yield timed(families.BATCH_SECONDS, batch_times(reports))
    yield sized(families.BATCH_ROWS, reports)
    screening = {key: each.screening for key, each in reports.items()}
    yield timed(families.SCREENING_SECONDS, screening)
    inference = {key: each.inference for key, each in reports.items()}
    yield timed(families.INFERENCE_SECONDS, inference)
    stages = {
        (*key, stage): count
        for key, each in reports.items()
        for stage, count in (("first", each.first), ("graph", each.graph))
    }
    yield filled(families.SCREENED_ROWS, stages)


def _tokens(reports: Mapping[Labels, VersionStatistics]) -> Iterator[Metric]:
    """Of the versions that have answered with tokens."""
    said = {key: each for key, each in reports.items() if each.prompt_tokens}
    first = {key: each.first_token for key, each in said.items()}
    yield spread(families.FIRST_TOKEN_SECONDS, first)
    yield spread(families.NEXT_TOKEN_SECONDS, {key: each.next_token for key, each in said.items()})
    parts = {
        (*key, part): count
        for key, each in said.items()
        for part, count in (("prompt", each.prompt_tokens), ("output", each.output_tokens))
    }
    yield filled(families.TOKENS, parts)


def _pointers(places: Mapping[tuple[str, str], LiveVersion]) -> Iterator[Metric]:
    sequences = {place: live.sequence for place, live in places.items()}
    yield filled(families.POINTER_SEQUENCE, sequences)
    yield filled(families.POINTER_VERSION, {place: live.version for place, live in places.items()})
    yield filled(families.POINTER_END, {place: live.until for place, live in places.items()})


class GatewayMetrics:
    """Shows a gateway's numbers, and whether it is ready: only where there are `sources`.

    `ports` has the listener's, if there is one.
    """

    def __init__(
        self, settings: MetricsSettings, readiness: GatewayReadiness, sources: Sources | None
    ) -> None:
        """Raises: ConfigError where the address cannot be listened on."""
        self.readiness = readiness
        self.ports: dict[str, int] = {}
        self._listener: MetricsListener | None = None
        if sources is not None:
            collector = GatewayCollector(sources)
            self._listener = metrics_listener(settings, collector, readiness.obstacle)
            if self._listener.port is not None:
                self.ports["metrics"] = self._listener.port

    def start(self) -> None:
        if self._listener is not None:
            for old, new in families.DEPRECATED.items():
                _log.warning("metric %s is deprecated and ends with 0.3: use %s", old, new)
            self._listener.start()

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.stop()
