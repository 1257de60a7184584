"""Builds a gateway from its configuration: the one place where its parts are joined."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from gateway.config import GatewayConfig
from gateway.credential_service import CredentialService
from gateway.credentials.authenticate import CallAuthenticator
from gateway.engine_rooms import open_room
from gateway.front_door import Call, FrontDoor
from gateway.health_service import HealthService
from gateway.inference_service import InferenceService
from gateway.listeners import listen, new_server
from gateway.log_service import LogService
from gateway.opening import check_certified, open_artifacts, open_uploads, opening
from gateway.policy_service import PolicyService
from gateway.predict import Predict
from gateway.quotas import Quotas
from gateway.recorder import Outcome, Recorder
from gateway.registry_service import RegistryService
from gateway.rights import Rights
from gateway.turnstile import Turnstile
from gateway.upload_service import UploadService
from gateway.watch import Watch
from gateway.watching import Watches
from inference.batching import OperatorBounds
from inference.cpu import CpuSettings
from inference.engine import Engine, TrustAnchor
from inference.foreign.loading import open_foreign
from inference.loading import LocalLoader
from inference.seen import SeenFile
from registry.database import Database
from registry.log.answer_log import AnswerLog
from registry.open_uploads import OpenUploads
from registry.policies import PinnedRoot
from registry.registry import Registry
from registry.subjects import SubjectKeys
from sealgate.oip import grpc_service_pb2
from sealgate.oip.grpc_service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from sealgate.reasons import Reason, Refusal
from sealgate.trust.keys import PublicKey, load_private_key
from sealgate.trust.policy import Policy
from sealgate.trust.receipt import Receipt
from sealgate.v1 import credential_pb2, log_pb2, policy_pb2, registry_pb2, upload_pb2
from sealgate.v1.credential_pb2_grpc import add_CredentialServiceServicer_to_server
from sealgate.v1.log_pb2_grpc import add_LogServiceServicer_to_server
from sealgate.v1.policy_pb2_grpc import add_PolicyServiceServicer_to_server
from sealgate.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from sealgate.v1.upload_pb2_grpc import add_UploadServiceServicer_to_server

SERVICES = (
    grpc_service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
    registry_pb2.DESCRIPTOR.services_by_name["RegistryService"],
    upload_pb2.DESCRIPTOR.services_by_name["UploadService"],
    policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    credential_pb2.DESCRIPTOR.services_by_name["CredentialService"],
    log_pb2.DESCRIPTOR.services_by_name["LogService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)
"""Every service that the gateway offers; each of their methods has a rule in `gateway.rules`."""


@dataclass(frozen=True, slots=True)
class _Store:
    """What lies on disk, opened."""

    roots: Mapping[str, PublicKey]
    registry: Registry
    uploads: OpenUploads
    answers: AnswerLog
    subjects: SubjectKeys

    @classmethod
    def open(cls, config: GatewayConfig) -> "_Store":
        keys = [PublicKey.from_pem(path.read_text()) for path in config.trust.root_keys]
        roots = {key.keyid: key for key in keys}
        with opening("[registry] database", config.registry.database):
            database = Database.open(config.registry.database, "registry")
        registry = Registry.open(
            database,
            open_artifacts(config.registry),
            origin=config.registry.origin,
            log_signer=load_private_key(config.registry.log_key),
            freshness_signer=load_private_key(config.registry.freshness_key),
            root=PinnedRoot(roots, config.trust.threshold),
            clock=now,
        )
        if not registry.log.size():
            _found(registry, config.trust.policy.read_bytes())
        answers_key = load_private_key(config.answers.log_key)
        check_certified(registry.policies.chain().newest, config.answers, answers_key.public)
        uploads = open_uploads(config.registry, registry, now)
        known = registry.anchors.newest(config.answers.origin)
        with opening("[answers] database", config.answers.database):
            answers = AnswerLog.open(
                config.answers.database,
                config.answers.origin,
                answers_key,
                known=known,
            )
        with opening("[answers] subjects", config.answers.subjects):
            subjects = SubjectKeys.open(config.answers.subjects)
        return cls(roots, registry, uploads, answers, subjects)

    def close(self) -> None:
        self.answers.close()
        self.subjects.close()
        self.registry.close()


class Gateway:
    """A gateway with all its parts. `ports` has the port of each listener, once started."""

    def __init__(self, config: GatewayConfig) -> None:
        self._limits = config.limits
        self._authenticator = CallAuthenticator.of(config)
        self._turnstile = Turnstile(config.limits)
        front_door = FrontDoor(
            self._authenticator,
            self.policy,
            self._record_refusal,
            self._turnstile,
            Quotas.of(config.quotas, config.quota_store),
            config.limits.message_bytes,
        )
        self._server = new_server(config.limits, front_door)
        # Before the logs are opened: whoever opens them shuts out a gateway that already runs here.
        self.ports = listen(self._server, config)
        try:
            self._store = store = _Store.open(config)
        except BaseException:
            self._server.stop(None)
            raise
        self._room = open_room(config.engine)
        cpu = CpuSettings.detect()
        bounds = OperatorBounds(config.batching)
        self._foreign = open_foreign(config.foreign_engine, cpu, bounds)
        self.engine = Engine(
            TrustAnchor(store.roots, config.trust.threshold),
            SeenFile.open(config.trust.seen),
            now,
            self._room or self._foreign or LocalLoader(cpu, bounds),
        )
        self.recorder = Recorder(store.answers, store.subjects)
        self._watch = Watch(
            store.registry,
            self.engine,
            store.answers,
            front_door.counted_refusals,
            config.limits.anchor_every,
            self._room,
        )
        self._rights = Rights(self.policy, config.gateway.environment)
        self._health = HealthService(self.engine, front_door.admit, self._rights)
        self._watches = Watches.over(
            store.registry, store.answers, front_door.admit, self._rights, config.limits
        )
        self._add_services()

    def policy(self) -> Policy:
        """The policy in force. Raises: POLICY_INVALID where none could be established."""
        policy = self.engine.policy
        if policy is None:
            raise Refusal(Reason.POLICY_INVALID, "none could be established")
        return policy

    def start(self) -> None:
        """Load what is live, then answer. Raises: POLICY_INVALID and whatever the registry says."""
        self._watch.start()
        self.policy()
        self._authenticator.start(self._store.registry)
        for service in ("", *(service.full_name for service in SERVICES)):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._turnstile.start()
        self._watches.start()
        self._server.start()

    def stop(self) -> None:
        """Drain: answer what is in progress, refuse the rest, record everything, and end."""
        self._health.enter_graceful_shutdown()
        self._watches.stop()
        self._server.stop(self._limits.drain).wait()
        self._turnstile.stop()
        self.engine.close(self._limits.drain)
        self.recorder.close(self._limits.drain)
        self._watch.stop()
        for room in (self._room, self._foreign):
            if room is not None:
                room.close()
        self._authenticator.close()
        self._store.close()

    def _add_services(self) -> None:
        predict = Predict(
            self.engine, self.recorder, self.policy, self._rights, now, self._limits.deadline
        )
        add_GRPCInferenceServiceServicer_to_server(
            InferenceService(self.engine, predict, self._rights), self._server
        )
        registry = self._store.registry
        add_RegistryServiceServicer_to_server(
            RegistryService(registry, self._rights, self._watches.changes), self._server
        )
        add_UploadServiceServicer_to_server(
            UploadService(self._store.uploads, self._rights), self._server
        )
        add_PolicyServiceServicer_to_server(PolicyService(registry.policies), self._server)
        credentials = CredentialService(registry, self._authenticator.api_keys)
        add_CredentialServiceServicer_to_server(credentials, self._server)
        logs = {log.origin: log for log in (registry.log, self._store.answers.reader)}
        add_LogServiceServicer_to_server(
            LogService(logs, self._watches.logs, self._open_answer), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [service.full_name for service in SERVICES], self._server
        )

    def _record_refusal(self, call: Call, refusal: Refusal) -> None:
        principal = call.principal.name
        self.recorder.record(
            Outcome(
                subject=principal,
                time=now(),
                principal=principal,
                method=call.method,
                policy_digest=self.policy().digest,
                outcome=refusal.reason.name,
            )
        )

    def _open_answer(self, origin: str, index: int) -> Receipt:
        if origin != self._store.answers.origin:
            raise Refusal(Reason.LOG_UNKNOWN)
        return self.recorder.open(index)


def build(config: GatewayConfig) -> Gateway:
    """Binds the listeners and opens everything; `start` begins to answer.

    Raises: ConfigError, Refusal.
    """
    return Gateway(config)


def _found(registry: Registry, policy: bytes) -> None:
    """Begin a registry with its first policy, unless another gateway is faster."""
    try:
        registry.policies.accept("init", policy)
    except Refusal:
        if not registry.log.size():
            raise


def now() -> datetime:
    return datetime.now(UTC)
