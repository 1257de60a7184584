"""Builds a gateway from its configuration: the one place where its parts are joined."""

from collections import Counter

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.admission import QuotaLimiter, StreamLimiter
from gateway.auth import AuthInterceptor, CallAuthenticator, Rights, TokenExchange
from gateway.backends import Backends
from gateway.config.document import GatewayConfig
from gateway.config.opening import open_rollback_key
from gateway.cosigning import WitnessUpdater
from gateway.observability import (
    Certificates,
    GatewayMetrics,
    GatewayReadiness,
    Phase,
    Sources,
    StatisticsHistory,
)
from gateway.outcomes import ColumnWatch, OutcomeAlarm, OutcomeBook, OutcomeReports
from gateway.pipeline import Enforcement, GenerationPipeline, InferencePipeline, Observation
from gateway.recording import AuditCallRecorder, AuditRecorder, GatewayStore, OwnAnswers
from gateway.rollout import Rollout
from gateway.screening import DriftWatch, FeatureKeeper
from gateway.services import (
    SERVICES,
    AuditService,
    CredentialService,
    EventStreams,
    HealthService,
    InferenceService,
    LogService,
    OutcomeService,
    PolicyService,
    RegistryService,
    UploadService,
    add_reflection,
)
from gateway.sessions import open_sessions
from gateway.sync import RegistrySync
from gateway.timestamps import TimestampUpdater
from gateway.transport import (
    BurstServer,
    GrpcTransport,
    HttpListeners,
    NotingAuthenticator,
    ServerTls,
)
from sealgate.oip.grpc_service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from sealgate.steady_clock import now
from sealgate.v1.audit_pb2_grpc import add_AuditServiceServicer_to_server
from sealgate.v1.credential_pb2_grpc import add_CredentialServiceServicer_to_server
from sealgate.v1.log_pb2_grpc import add_LogServiceServicer_to_server
from sealgate.v1.outcome_pb2_grpc import add_OutcomeServiceServicer_to_server
from sealgate.v1.policy_pb2_grpc import add_PolicyServiceServicer_to_server
from sealgate.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from sealgate.v1.upload_pb2_grpc import add_UploadServiceServicer_to_server


class Gateway:
    """A gateway with all its parts. `ports` has the port of each listener, once started."""

    def __init__(self, config: GatewayConfig) -> None:
        self._limits = config.limits
        self.authenticator = CallAuthenticator.of(config, now)
        self.stream_limiter = StreamLimiter(config.limits)
        self.quotas = QuotaLimiter.of(config.quotas, config.quota_store)
        counted_refusals: Counter[str] = Counter()
        # Before the logs are opened: whoever opens them shuts out a gateway that already runs here.
        tls = ServerTls.of(config.tls)
        self.http = HttpListeners(config, tls)
        self._grpc = GrpcTransport(config, tls, counted_refusals)
        self.ports = self._grpc.ports | self.http.ports
        self.store = store = self._open_store(config)
        self.backends = Backends.open(config, store.roots, now)
        self.engine = self.backends.engine
        self.recorder = AuditRecorder(store.answers, store.subjects)
        self.interceptor = self._new_interceptor(counted_refusals)
        policy = self.engine.policy_in_force
        self.drift = DriftWatch(store.registry.drifts, store.answers.origin)
        self.history = StatisticsHistory(self.engine.live, self.drift.evidence)
        self.registry_sync = self._new_watch()
        self._columns = ColumnWatch(policy)
        alarm = OutcomeAlarm(self.recorder, now)
        self.outcomes = OutcomeBook(store.answers, self.engine.live, policy, alarm, self._columns)
        self.rollout = self._new_rollout(config)
        self.sessions = open_sessions(config.sessions)
        self._features = FeatureKeeper(config.features, now)
        self._rights = Rights(policy, config.gateway.environment)
        allowances, readmit = store.registry.allowances, self.interceptor.readmit
        self._enforcement = Enforcement(self.engine, policy, self._rights, allowances, readmit)
        self._health = HealthService(self.engine, self.interceptor.admit, self._rights)
        self.event_streams = EventStreams.over(
            store.registry, store.answers, self.interceptor.admit, self._rights, config.limits
        )
        logs, often = list(store.logs().values()), config.limits.anchor_every
        self.witnesses = WitnessUpdater(config.witnesses, logs, store.witnessed, store.halt, often)
        self.timestamps = TimestampUpdater(config.timestamps, config.trust.seen, logs, now)
        self.inference = self._new_predict()
        self._generate = self._new_generate()
        self.bursts = self._add_services()
        self.metrics = self._new_metrics(config, tls)
        self.ports |= self.metrics.ports

    def start(self) -> None:
        """Load what is live, then answer. Raises: POLICY_INVALID and whatever the registry says."""
        self.metrics.start()
        self.registry_sync.start()
        self.engine.policy_in_force()
        self.authenticator.start(self.store.registry)
        for service in ("", *(service.full_name for service in SERVICES)):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self.stream_limiter.start()
        self.event_streams.start()
        self.witnesses.start()
        self.timestamps.start()
        self.rollout.start()
        self._features.start()
        self._grpc.start(self.interceptor, self.bursts)
        self.http.start()
        self.metrics.readiness.phase = Phase.SERVING

    def stop(self) -> None:
        """Drain: answer what is in progress, refuse the rest, record everything, and end."""
        self.metrics.readiness.phase = Phase.DRAINING
        self._health.enter_graceful_shutdown()
        self.witnesses.stop()
        self.timestamps.stop()
        self.event_streams.stop()
        self.http.finish()
        self._grpc.stop(self._limits.drain)
        self.http.stop()
        self.bursts.stop()
        self._generate.wait(self._limits.drain)
        self.stream_limiter.stop()
        self.rollout.stop()
        self.engine.close(self._limits.drain)
        self.recorder.close(self._limits.drain)
        self.registry_sync.stop()
        self.backends.close()
        self.sessions.close()
        self._features.stop()
        self.authenticator.close()
        self.metrics.stop()
        self.store.close()

    def _open_store(self, config: GatewayConfig) -> GatewayStore:
        """Frees the listeners' ports where the databases cannot be opened."""
        try:
            return GatewayStore.open(config, now)
        except BaseException:
            self._grpc.stop(None)
            self.http.finish()
            raise

    def _new_interceptor(self, counted_refusals: Counter[str]) -> AuthInterceptor:
        policy = self.engine.policy_in_force
        return AuthInterceptor(
            NotingAuthenticator(self.authenticator, self._grpc.note_caller),
            policy,
            AuditCallRecorder(self.recorder, policy, now),
            self.stream_limiter,
            self.quotas,
            counted_refusals,
        )

    def _new_watch(self) -> RegistrySync:
        return RegistrySync(
            self.store,
            self.engine,
            self.interceptor.counted_refusals,
            self._limits.anchor_every,
            self.backends.shown,
            self._look_at_traffic,
        )

    def _new_rollout(self, config: GatewayConfig) -> Rollout:
        registry = self.store.registry
        key = open_rollback_key(registry.policies.chain().newest, config.rollback)
        return Rollout(self.engine, self.recorder, registry.pointers, now, key, [self.outcomes])

    def _look_at_traffic(self) -> None:
        self.history.sample()
        self.drift.report()

    def _new_predict(self) -> InferencePipeline:
        return InferencePipeline(
            self.engine,
            self.recorder,
            self._enforcement,
            Observation(self.sessions, self.drift, self._features, self._columns),
            self.rollout,
            now,
            self._limits.deadline,
        )

    def _new_generate(self) -> GenerationPipeline:
        return GenerationPipeline(
            self.engine,
            self.recorder,
            self._enforcement,
            self.quotas,
            now,
            self._limits.generation,
            self.inference.unresolved,
        )

    def _new_metrics(self, config: GatewayConfig, tls: ServerTls | None) -> GatewayMetrics:
        readiness = GatewayReadiness(self.engine, self.recorder.fenced)
        # The files of certificates are opened only where somebody may ask when they expire.
        sources = None
        if config.metrics.listen:
            certificates = Certificates(tls, config)
            sources = self._metric_sources(certificates, readiness)
        return GatewayMetrics(config.metrics, readiness, sources)

    def _metric_sources(self, certificates: Certificates, readiness: GatewayReadiness) -> Sources:
        store, stamps, counts = self.store, self.timestamps.newest, self.interceptor
        names = {store.answers.origin: "answers", store.registry.log.origin: "registry"}
        return Sources(
            engine=self.engine,
            unresolved=self.inference.unresolved,
            refusals={"yes": counts.recorded_refusals, "no": counts.counted_refusals},
            http_answers=self.http.answers,
            recorder=self.recorder,
            registry_size=store.registry_size,
            withdrawn=self.drift.withdrawn,
            session_findings=self.sessions.found,
            session_actions=self.inference.observation.session_actions,
            outcomes=self.outcomes,
            certificates=certificates,
            readiness=readiness,
            stamps=lambda: {names[origin]: each for origin, each in stamps().items()},
            stamp_seconds=self.timestamps.every,
        )

    def _add_services(self) -> BurstServer:
        inference = InferenceService(
            self.engine,
            self.inference,
            self._generate,
            self._rights,
            self.drift.withdrawn,
            self.history.of,
        )
        server = self._grpc.server
        add_GRPCInferenceServiceServicer_to_server(inference, server)
        self.http.serve(inference, self.interceptor)
        self._add_registry_services(server)
        self._add_record_services(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(SERVICES, server)
        return BurstServer(
            self.interceptor,
            self.authenticator,
            self.inference,
            inference,
            self.stream_limiter,
            self._limits,
        )

    def _add_registry_services(self, server: grpc.Server) -> None:
        registry = self.store.registry
        add_RegistryServiceServicer_to_server(
            RegistryService(registry, self._rights, self.event_streams.changes), server
        )
        add_UploadServiceServicer_to_server(UploadService(self.store.uploads, self._rights), server)
        add_PolicyServiceServicer_to_server(PolicyService(registry.policies), server)
        exchange = TokenExchange(
            self.authenticator,
            self.engine.policy_in_force,
            lambda: registry.logged().passkey_counters,
            now,
        )
        credentials = CredentialService(registry, self.authenticator.api_keys, exchange)
        add_CredentialServiceServicer_to_server(credentials, server)

    def _add_record_services(self, server: grpc.Server) -> None:
        """Adds the services that auditors read, and the one that takes callers' outcomes."""
        store, rights = self.store, self._rights
        answers = OwnAnswers(
            store.answers.origin, self.recorder, store.registry.erasures, self.outcomes.forget
        )
        logs = LogService(
            store, answers.open, answers.erase, self.event_streams.logs, self.timestamps, rights
        )
        add_LogServiceServicer_to_server(logs, server)
        flagged = self.inference.observation.flagged
        audit = AuditService(store.registry.audit_trail, answers.search, rights, flagged)
        add_AuditServiceServicer_to_server(audit, server)
        versions = store.registry.versions
        reports = OutcomeReports(
            store.answers,
            self.recorder,
            versions,
            rights,
            self.engine.policy_in_force,
            self.outcomes,
            now,
        )
        outcomes = OutcomeService(reports, self.outcomes, rights)
        add_OutcomeServiceServicer_to_server(outcomes, server)


def build(config: GatewayConfig) -> Gateway:
    """Binds the listeners and opens everything; `start` begins to answer.

    Raises: ConfigError, SealgateError.
    """
    return Gateway(config)
