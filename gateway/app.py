"""Builds a gateway from its configuration: the one place where its parts are joined."""

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.admission.quotas import QuotaLimiter
from gateway.admission.stream_limiter import StreamLimiter
from gateway.auth.authenticate import CallAuthenticator, TokenExchange
from gateway.auth.interceptor import AuthInterceptor
from gateway.auth.method_rules import Rights
from gateway.backends.backends import Backends
from gateway.calls.call import Call
from gateway.config.document import GatewayConfig
from gateway.config.opening import open_rollback_key
from gateway.observability.certificates import Certificates
from gateway.observability.collector import MetricsListener, Sources
from gateway.observability.history import StatisticsHistory
from gateway.observability.server import GatewayReadiness, Phase
from gateway.outcomes import ColumnWatch, OutcomeAlarm, OutcomeBook, OutcomeReports
from gateway.pipeline.enforcement import Enforcement
from gateway.pipeline.generate import GenerationPipeline
from gateway.pipeline.infer import InferencePipeline
from gateway.pipeline.observation import Observation
from gateway.recording.recorder import AuditRecord, AuditRecorder
from gateway.recording.store import GatewayStore, OwnAnswers
from gateway.rollout.rollout import Rollout
from gateway.screening.drift import DriftWatch
from gateway.screening.features import FeatureKeeper
from gateway.services.audit import AuditService, LogService, request_text
from gateway.services.credentials import CredentialService
from gateway.services.event_streams import EventStreams
from gateway.services.health import SERVICES, HealthService, add_reflection
from gateway.services.inference import InferenceService
from gateway.services.outcomes import OutcomeService
from gateway.services.registry import PolicyService, RegistryService
from gateway.services.uploads import UploadService
from gateway.sessions.sealed import open_sessions
from gateway.sync.registry_sync import RegistrySync
from gateway.timestamps import TimestampUpdater
from gateway.transport.bursts import BurstServer
from gateway.transport.connections import NotingAuthenticator
from gateway.transport.http.listeners import HttpListeners
from gateway.transport.listeners import GrpcTransport
from gateway.transport.tls import ServerTls
from gateway.witnesses.updates import WitnessUpdater
from sealgate.oip.grpc_service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from sealgate.reasons import Reason, SealgateError
from sealgate.steady_clock import now
from sealgate.trust.policy import Policy
from sealgate.trust.receipts.answer_entry import READ
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
        interceptor = self._new_interceptor(config)
        # Before the logs are opened: whoever opens them shuts out a gateway that already runs here.
        tls = ServerTls.of(config.tls)
        http = self.http = HttpListeners(config, tls, interceptor)
        self._grpc = GrpcTransport(config, interceptor, tls)
        self.ports = self._grpc.ports | http.ports
        try:
            self.store = store = GatewayStore.open(config, now)
        except BaseException:
            self._grpc.stop(None)
            http.finish()
            raise
        self.backends = Backends.open(config, store.roots, now)
        self.engine = self.backends.engine
        self.recorder = AuditRecorder(store.answers, store.subjects)
        self.drift = DriftWatch(store.registry.drifts, store.answers.origin)
        self.history = StatisticsHistory(self.engine.live, self.drift.evidence)
        self.registry_sync = self._new_watch(interceptor)
        guard_key = open_rollback_key(store.registry.policies.chain().newest, config.rollback)
        self._columns = ColumnWatch(self.policy)
        alarm = OutcomeAlarm(self.recorder, now)
        self.outcomes = OutcomeBook(
            store.answers, self.engine.live, self.policy, alarm, self._columns
        )
        self.rollout = Rollout(
            self.engine, self.recorder, store.registry.pointers, now, guard_key, [self.outcomes]
        )
        self.sessions = open_sessions(config.sessions)
        self._features = FeatureKeeper(config.features, now)
        self._rights = Rights(self.policy, config.gateway.environment)
        self._enforcement = Enforcement(
            self.engine, self.policy, self._rights, store.registry.allowances
        )
        self._health = HealthService(self.engine, interceptor.admit, self._rights)
        self.event_streams = EventStreams.over(
            store.registry, store.answers, interceptor.admit, self._rights, config.limits
        )
        logs, often = list(store.logs().values()), config.limits.anchor_every
        self.witnesses = WitnessUpdater(config.witnesses, logs, store.witnessed, store.halt, often)
        self.timestamps = TimestampUpdater(config.timestamps, config.trust.seen, logs, now)
        self.inference = self._new_predict()
        self._generate = self._new_generate()
        self.bursts = self._add_services(interceptor)
        self.metrics = self._new_metrics(config, interceptor, tls)
        self.ports |= self.metrics.ports

    def policy(self) -> Policy:
        """The policy in force. Raises: POLICY_INVALID where none could be established."""
        policy = self.engine.policy
        if policy is None:
            raise SealgateError(Reason.POLICY_INVALID, "none could be established")
        return policy

    def start(self) -> None:
        """Load what is live, then answer. Raises: POLICY_INVALID and whatever the registry says."""
        self.metrics.start()
        self.registry_sync.start()
        self.policy()
        self.authenticator.start(self.store.registry)
        for service in ("", *(service.full_name for service in SERVICES)):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self.stream_limiter.start()
        self.event_streams.start()
        self.witnesses.start()
        self.timestamps.start()
        self.rollout.start()
        self._features.start()
        self._grpc.start(self.bursts)
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

    def _new_interceptor(self, config: GatewayConfig) -> AuthInterceptor:
        return AuthInterceptor(
            NotingAuthenticator(self.authenticator, lambda peer: self._grpc.note_caller(peer)),
            self.policy,
            self._record_refusal,
            self._record_read,
            self.stream_limiter,
            self.quotas,
            config.limits.message_bytes,
        )

    def _new_watch(self, interceptor: AuthInterceptor) -> RegistrySync:
        return RegistrySync(
            self.store.registry,
            self.engine,
            self.store.answers,
            interceptor.counted_refusals,
            self._limits.anchor_every,
            self.store.remember,
            self.backends.shown,
            self._look_at_traffic,
            self.store,
        )

    def _look_at_traffic(self) -> None:
        self.history.sample()
        self.drift.report()

    def _new_predict(self) -> InferencePipeline:
        return InferencePipeline(
            self.engine,
            self.recorder,
            self._enforcement,
            Observation(self.policy, self.sessions, self.drift, self._features, self._columns),
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

    def _new_metrics(
        self, config: GatewayConfig, interceptor: AuthInterceptor, tls: ServerTls | None
    ) -> MetricsListener:
        readiness = GatewayReadiness(self.engine, self.recorder.fenced)
        # The files of certificates are opened only where somebody may ask when they expire.
        sources = None
        if config.metrics.listen:
            certificates = Certificates(tls, config)
            sources = self._metric_sources(certificates, interceptor, readiness)
        return MetricsListener(config.metrics, readiness, sources)

    def _metric_sources(
        self, certificates: Certificates, interceptor: AuthInterceptor, readiness: GatewayReadiness
    ) -> Sources:
        store, stamps = self.store, self.timestamps.newest
        names = {store.answers.origin: "answers", store.registry.log.origin: "registry"}
        return Sources(
            engine=self.engine,
            unresolved=self.inference.unresolved,
            refusals={"yes": interceptor.recorded_refusals, "no": interceptor.counted_refusals},
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

    def _add_services(self, interceptor: AuthInterceptor) -> BurstServer:
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
        self.http.serve(inference)
        self._add_registry_services(server)
        self._add_record_services(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(SERVICES, server)
        return BurstServer(
            interceptor,
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
            self.authenticator, self.policy, lambda: registry.logged().passkey_counters, now
        )
        credentials = CredentialService(registry, self.authenticator.api_keys, exchange)
        add_CredentialServiceServicer_to_server(credentials, server)

    def _add_record_services(self, server: grpc.Server) -> None:
        """What auditors read, and the outcomes that callers report of their answers."""
        store, rights = self.store, self._rights
        answers = OwnAnswers(
            store.answers.origin, self.recorder, store.registry.erasures, self.outcomes.forget
        )
        logs = LogService(
            store.logs(),
            self.event_streams.logs,
            answers.open,
            store.cose_receipts(),
            self.timestamps,
            store.witnessed,
            answers.erase,
            rights,
        )
        add_LogServiceServicer_to_server(logs, server)
        flagged = self.inference.observation.flagged
        audit = AuditService(store.registry.audit_trail, answers.search, rights, flagged)
        add_AuditServiceServicer_to_server(audit, server)
        versions = store.registry.versions
        reports = OutcomeReports(
            store.answers, self.recorder, versions, rights, self.policy, self.outcomes, now
        )
        outcomes = OutcomeService(reports, self.outcomes, rights)
        add_OutcomeServiceServicer_to_server(outcomes, server)

    def _record_refusal(self, call: Call, refusal: SealgateError) -> None:
        self._record(call, refusal.reason.name)

    def _record_read(self, call: Call, request: Message) -> None:
        # About nobody: who has read what cannot be erased with the reader.
        self._record(call, READ, request_text(request), subject="")

    def _record(
        self, call: Call, outcome: str, asked: str = "", subject: str | None = None
    ) -> None:
        principal = call.principal.name
        self.recorder.record(
            AuditRecord(
                subject=principal if subject is None else subject,
                time=now(),
                principal=principal,
                method=call.method,
                policy_digest=self.policy().digest,
                input=asked,
                outcome=outcome,
            )
        )


def build(config: GatewayConfig) -> Gateway:
    """Binds the listeners and opens everything; `start` begins to answer.

    Raises: ConfigError, SealgateError.
    """
    return Gateway(config)
