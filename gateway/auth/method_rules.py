"""Authorizes calls: one rule for each method, and the policy's rights on what a request names.

A method that has no rule is refused, and a test walks the services' descriptors so that none is
forgotten. Roles come from the signed policy alone.

A signed statement names its model in a payload that is read here unverified. The registry verifies
the very same bytes afterwards, so nobody gets past with another name than the signed one.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from gateway.calls.call import Call
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import STAFF_ROLES, WILDCARD, Policy
from sealgate.trust.statements.base import Statement

ANYONE: frozenset[str] = frozenset()
"""Marks the few methods that need no credential: they tell whether we are up, or look at the
credential themselves.
"""

_CLIENT = frozenset({"client"})
_PUBLISHER = frozenset({"publisher"})
_ADMIN = frozenset({"admin"})
_APPROVER = frozenset({"approver"})
_AUDITOR = frozenset({"auditor"})
# Services: one that checks golden answers, one that returns an alias by itself, one that tells
# other systems what happens.
_MONITOR = frozenset({"monitor"})
_ROLLBACK = frozenset({"rollback"})
_EVENTS = frozenset({"events"})
_ALL = STAFF_ROLES | _CLIENT

_INFERENCE = {
    "ServerLive": ANYONE,
    "ServerReady": ANYONE,
    "ModelReady": _ALL,
    "ServerMetadata": _ALL,
    "ModelMetadata": _ALL,
    "ModelInfer": _CLIENT,
    "ModelStreamInfer": _CLIENT,
    "ModelConfig": _ALL,
    # Of both, a client gets the models that its rights name: `gateway.services.inference`.
    "ModelStatistics": _ALL,
    "RepositoryIndex": _ALL,
    # The answer says where to go instead.
    "RepositoryModelLoad": _ALL,
    "RepositoryModelUnload": _ALL,
}
_REGISTRY = {
    "GetPolicy": _ALL | _MONITOR | _ROLLBACK | _EVENTS,
    "CreateModel": _PUBLISHER,
    "ListModels": STAFF_ROLES | _MONITOR,
    "CommitWatermark": _PUBLISHER,
    "UploadVersion": _PUBLISHER,
    # Of a version, a monitor gets what `gateway.services.registry` says.
    "GetVersion": STAFF_ROLES | _MONITOR,
    "ListVersions": STAFF_ROLES,
    "DownloadFile": STAFF_ROLES | _MONITOR,
    "AttachEvidence": _PUBLISHER | _APPROVER | _ADMIN,
    "CreateProposal": _PUBLISHER | _ADMIN,
    "GetProposal": STAFF_ROLES,
    "ListProposals": STAFF_ROLES,
    "CreateApproval": _APPROVER,
    "CreateRejection": _APPROVER,
    "WithdrawProposal": _PUBLISHER | _ADMIN,
    "CreateComment": STAFF_ROLES,
    "Promote": _ADMIN,
    "Rollback": _ADMIN | _ROLLBACK,
    "RevokeVersion": _ADMIN,
    "GetPointer": STAFF_ROLES | _MONITOR | _ROLLBACK,
    "ListPointers": STAFF_ROLES | _ROLLBACK,
    "WatchChanges": STAFF_ROLES | _EVENTS,
}
# The roots' signatures authorize a policy; an admin brings it.
_POLICY = {"AcceptPolicy": _ADMIN}
_UPLOADS = {
    "CreateUpload": _PUBLISHER,
    "GetUpload": _PUBLISHER,
    "UploadFile": _PUBLISHER,
    "CreateVersion": _PUBLISHER,
    "DeleteUpload": _PUBLISHER,
}
_CREDENTIALS = {
    "CreateApiKey": _ADMIN,
    "ListApiKeys": _ADMIN | _AUDITOR,
    "RevokeApiKey": _ADMIN,
    # The exchanged credential says who the caller is.
    "CreateLoginChallenge": ANYONE,
    "CreateBoundToken": ANYONE,
}
# Checkpoints and proofs hold hashes only, so every caller may be a witness; entries are the
# auditor's.
_LOG = {
    # A monitor looks at how old their time stamps are.
    "ListLogs": _ALL | _EVENTS | _MONITOR,
    "GetCheckpoint": _ALL | _EVENTS | _MONITOR,
    "GetInclusionProof": _ALL,
    "GetConsistencyProof": _ALL | _EVENTS,
    "GetCoseReceipt": _ALL,
    "GetTransparentStatement": _AUDITOR,
    "GetEntry": _AUDITOR,
    "StreamEntries": _AUDITOR,
    "WatchLog": _AUDITOR,
    "StreamHashes": _AUDITOR,
    "StreamTimestamps": _AUDITOR,
    "OpenEntry": _AUDITOR,
    "EraseSubject": _ADMIN,
}
_AUDIT = {
    "GetLiveAt": _AUDITOR,
    "GetDecision": _AUDITOR,
    "StreamRecords": _AUDITOR,
    "StreamOpenings": _AUDITOR,
    "ListFlaggedSessions": _AUDITOR | _EVENTS,
}
_OUTCOMES = {
    # On the caller's own answers; a monitor's reports are on everybody's (`gateway.outcomes`).
    "ReportOutcomes": _CLIENT | _MONITOR,
    "GetOutcomes": STAFF_ROLES | _MONITOR,
}
# Watching goes on for ever and holds a thread, so whoever does it must be known.
_HEALTH = {"Check": ANYONE, "Watch": _ALL, "List": ANYONE}
_REFLECTION = {"ServerReflectionInfo": _ALL}

RULES: Mapping[str, frozenset[str]] = {
    f"/{service}/{method}": roles
    for service, methods in {
        "inference.GRPCInferenceService": _INFERENCE,
        "sealgate.v1.RegistryService": _REGISTRY,
        "sealgate.v1.PolicyService": _POLICY,
        "sealgate.v1.UploadService": _UPLOADS,
        "sealgate.v1.CredentialService": _CREDENTIALS,
        "sealgate.v1.LogService": _LOG,
        "sealgate.v1.AuditService": _AUDIT,
        "sealgate.v1.OutcomeService": _OUTCOMES,
        "grpc.health.v1.Health": _HEALTH,
        "grpc.reflection.v1.ServerReflection": _REFLECTION,
        "grpc.reflection.v1alpha.ServerReflection": _REFLECTION,
    }.items()
    for method, roles in methods.items()
}

WATCHES = frozenset(
    {"/sealgate.v1.RegistryService/WatchChanges", "/sealgate.v1.LogService/WatchLog"}
)
"""The methods that run as long as their caller likes, mostly waiting, on threads of their own."""

AUDIT_READS = frozenset(
    f"/sealgate.v1.{service}/{method}"
    for service, methods in {"LogService": _LOG, "AuditService": _AUDIT}.items()
    for method, roles in methods.items()
    if roles == _AUDITOR
)
"""The methods that show audit data. Each such call is recorded before anything of its answer
leaves.
"""
_S = TypeVar("_S", bound=Statement)


_MOST_KEPT = 4096


class Rights:
    """Refuses what no right of the policy in force covers, in this gateway's environment.

    Decisions of a policy are kept until another one is in force, because a search through the
    rights of a large policy takes longer than the rest of a request.
    """

    def __init__(self, policy: Callable[[], Policy], environment: str = "") -> None:
        self._policy = policy
        self._environment = environment
        # Together, so that nothing is ever kept for another policy than the one that allowed it.
        self._allowed: tuple[Policy | None, set[tuple[object, ...]]] = (None, set())

    def allows(self, call: Call, action: str, model: str, alias: str | None = None) -> bool:
        """Whether `check` would raise nothing."""
        try:
            self.check(call, action, model, alias)
        except SealgateError as refusal:
            if refusal.reason is not Reason.RIGHT_MISSING:
                raise
            return False
        return True

    def check(
        self,
        call: Call,
        action: str,
        model: str = WILDCARD,
        alias: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Raises: RIGHT_MISSING. `model` must be a name; without an alias all of them are meant,
        and without a policy the one in force.
        """
        policy, principal = policy or self._policy(), call.principal
        under, allowed = self._allowed
        if under is not policy:
            self._allowed = (policy, allowed := set())
        asked = (principal.name, principal.roles, action, model, alias)
        if asked in allowed:
            return
        target = policy.target(
            action, model, WILDCARD if alias is None else alias, self._environment
        )
        policy.check_right(principal, target)
        if len(allowed) < _MOST_KEPT:
            allowed.add(asked)


def unverified(kind: type[_S], envelope: bytes) -> _S:
    """The statement in an envelope; its signatures are not verified. Raises: DOCUMENT_MALFORMED and
    the like.
    """
    return kind.decode(Envelope.decode(envelope).payload)
