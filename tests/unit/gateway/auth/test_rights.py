"""Every method that concerns a model asks for a right, before anything is looked up.

The services get no engine and nearly no registry, so whoever asked one first would fail otherwise.
"""

from types import SimpleNamespace

import pytest
from grpc_health.v1 import health_pb2

from gateway.admission.stream_limiter import StreamLimiter
from gateway.auth.method_rules import RULES, Rights
from gateway.calls.call import Call
from gateway.config.sections import GatewayLimits
from gateway.services.health import HealthService
from gateway.services.inference import InferenceService
from gateway.services.registry import RegistryService
from inference.engine.live_table import IndexedVersion
from registry.state.records import ProposalRecord
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.trust.policy import WILDCARD, Policy, Right
from sealgate.trust.policy.rights import ACTION_ROLES
from sealgate.trust.statements import (
    Comment,
    ProposalWithdrawal,
    Rejection,
    Revocation,
    sign_statement,
)
from sealgate.v1 import registry_pb2 as messages
from tests.support.builders.documents.people import (
    VERSION_DIGEST,
    PromotionDocuments,
    at,
    key,
    make_policy,
    refused,
)

REGISTRY = "sealgate.v1.RegistryService"
INFERENCE = "inference.GRPCInferenceService"
OFFICE = PromotionDocuments(make_policy())
PROMOTION = OFFICE.promotion()
POINTER = PROMOTION.pointer.encode()
REVOCATION = Revocation("digits", 1, VERSION_DIGEST, "stolen", "otto", at())


def reply(kind, author):
    said = kind(PROMOTION.proposal.payload_digest, author, "Words.", at())
    return sign_statement(said, key(author)).encode()


VERSION = "models/digits/versions/1"
ALIAS = "models/digits/aliases/production"
# For each method: the action, the alias that it concerns, and a request about digits.
ASKED = {
    "CreateModel": ("publish", WILDCARD, messages.CreateModelRequest(model="digits")),
    "CommitWatermark": ("publish", WILDCARD, messages.CommitWatermarkRequest(model="digits")),
    "UploadVersion": (
        "publish",
        WILDCARD,
        messages.UploadVersionRequest(header=messages.UploadVersionRequest.Header(model="digits")),
    ),
    "GetVersion": ("read", WILDCARD, messages.GetVersionRequest(name=VERSION)),
    "ListVersions": ("read", WILDCARD, messages.ListVersionsRequest(model="digits")),
    "DownloadFile": ("read", WILDCARD, messages.DownloadFileRequest(name=VERSION, path="x")),
    "AttachEvidence": ("attach", WILDCARD, messages.AttachEvidenceRequest(name=VERSION)),
    "CreateProposal": (
        "propose",
        "production",
        messages.CreateProposalRequest(envelope=PROMOTION.proposal.encode()),
    ),
    "GetProposal": ("read", "production", messages.GetProposalRequest(digest="known")),
    "ListProposals": ("read", WILDCARD, messages.ListProposalsRequest(model="digits")),
    "CreateApproval": (
        "approve",
        "production",
        messages.CreateApprovalRequest(envelope=PROMOTION.approvals[0].encode()),
    ),
    "CreateRejection": (
        "approve",
        "production",
        messages.CreateRejectionRequest(envelope=reply(Rejection, "anna")),
    ),
    "WithdrawProposal": (
        "propose",
        "production",
        messages.WithdrawProposalRequest(envelope=reply(ProposalWithdrawal, "paula")),
    ),
    "CreateComment": (
        "read",
        "production",
        messages.CreateCommentRequest(envelope=reply(Comment, "anna")),
    ),
    "Promote": ("promote", "production", messages.PromoteRequest(envelope=POINTER)),
    "Rollback": ("rollback", "production", messages.RollbackRequest(envelope=POINTER)),
    "RevokeVersion": (
        "revoke",
        WILDCARD,
        messages.RevokeVersionRequest(envelope=sign_statement(REVOCATION, key("otto")).encode()),
    ),
    "GetPointer": ("read", "production", messages.GetPointerRequest(name=ALIAS)),
    "ListPointers": ("read", "production", messages.ListPointersRequest(name=ALIAS)),
}
# Methods that concern all models at once.
WIDE = {"ListModels": ("read", WILDCARD, messages.ListModelsRequest())}
MODEL_QUESTIONS = {
    "ModelReady": ("metadata", "production", oip.ModelReadyRequest(name="digits")),
    "ModelMetadata": ("metadata", WILDCARD, oip.ModelMetadataRequest(name="digits", version="1")),
    "ModelConfig": ("metadata", "production", oip.ModelConfigRequest(name="digits")),
    "ModelStatistics": ("metadata", WILDCARD, oip.ModelStatisticsRequest(name="digits")),
    "RepositoryIndex": ("metadata", WILDCARD, oip.RepositoryIndexRequest()),
}


class OneProposal:
    """A registry in which nothing can be found but a proposal for digits/production."""

    def __init__(self):
        self.proposals = self

    def get(self, digest):
        envelope = PROMOTION.proposal.encode()
        told = {"digest": digest, "model": "digits", "alias": "production", "version": 1}
        return ProposalRecord(
            **told, proposer="paula", time=at(), envelope=envelope, approvals=(), entry=1
        )


class Asked(Exception):
    """Raised by what lies behind the check."""


class Behind:
    def __getattr__(self, name):
        raise Asked


def rights(*allowed):
    return Rights(lambda: make_policy(rights=allowed))


def registry_service(*allowed):
    return RegistryService(OneProposal(), rights(*allowed), None)


def ask(service, name, request):
    call = Call(SimpleNamespace(), name, StreamLimiter(GatewayLimits()))
    call.identify(SimpleNamespace(name="anna", roles=("approver",)))
    answer = getattr(service, name)(iter([request]) if name == "UploadVersion" else request, call)
    return list(answer) if name == "DownloadFile" else answer


def test_no_method_of_the_registry_is_forgotten():
    offered = {path.rpartition("/")[2] for path in RULES if path.startswith(f"/{REGISTRY}/")}
    # A stream of changes is held against the rights change by change.
    assert offered - {*ASKED, *WIDE} == {"GetPolicy", "WatchChanges"}


@pytest.mark.parametrize("name", [*ASKED, *WIDE])
def test_without_a_right_the_registry_is_not_asked(name):
    _, _, request = (ASKED | WIDE)[name]
    with refused(Reason.RIGHT_MISSING):
        ask(registry_service(), name, request)


@pytest.mark.parametrize("name", ASKED)
def test_a_right_for_another_model_alias_or_action_is_not_enough(name):
    action, _, request = ASKED[name]
    others = tuple(other for other in ACTION_ROLES if other != action)
    for right in (
        Right(("anna",), (), (action,), ("fraud",), (WILDCARD,)),
        Right(("anna",), (), (action,), ("digits",), ("shadow",)),
        Right(("anna",), (), others, (WILDCARD,), (WILDCARD,)),
        Right(("arne",), (), (action,), (WILDCARD,), (WILDCARD,)),
    ):
        with refused(Reason.RIGHT_MISSING):
            ask(registry_service(right), name, request)


@pytest.mark.parametrize("name", [name for name in ASKED if name != "GetProposal"])
def test_with_the_right_the_registry_is_asked(name):
    action, alias, request = ASKED[name]
    right = Right(("anna",), (), (action,), ("digits",), (alias,))
    with pytest.raises(AttributeError, match="OneProposal"):
        ask(registry_service(right), name, request)


def test_moves_of_all_aliases_need_a_right_to_all_of_them():
    request = messages.ListPointersRequest(name="models/digits/aliases/-")
    with refused(Reason.RIGHT_MISSING):
        one = Right(("anna",), (), ("read",), ("digits",), ("production",))
        ask(registry_service(one), "ListPointers", request)
    every = Right(("anna",), (), ("read",), ("digits",), (WILDCARD,))
    with pytest.raises(AttributeError, match="OneProposal"):
        ask(registry_service(every), "ListPointers", request)


def test_with_the_right_a_proposal_is_shown():
    right = Right(("anna",), (), ("read",), ("digits",), ("production",))
    _, _, request = ASKED["GetProposal"]
    assert ask(registry_service(right), "GetProposal", request).proposal.digest == "known"


def service(allowed):
    return InferenceService(Behind(), Behind(), Behind(), allowed, Behind(), Behind())


@pytest.mark.parametrize("name", MODEL_QUESTIONS)
def test_without_a_right_the_engine_is_not_asked(name):
    _, _, request = MODEL_QUESTIONS[name]
    with refused(Reason.RIGHT_MISSING):
        ask(service(rights()), name, request)


@pytest.mark.parametrize("name", MODEL_QUESTIONS)
def test_with_the_right_the_engine_is_asked(name):
    action, alias, request = MODEL_QUESTIONS[name]
    model = WILDCARD if name == "RepositoryIndex" else "digits"
    right = Right(("anna",), (), (action,), (model,), (alias,))
    with pytest.raises(Asked):
        ask(service(rights(right)), name, request)


def test_a_client_is_shown_the_versions_of_the_aliases_that_its_rights_name():
    places = [("digits", "production", 1), ("digits", "canary", 2), ("fraud", "production", 1)]
    live = {(m, alias): SimpleNamespace(model=m, version=number) for m, alias, number in places}
    index = [IndexedVersion(model, number, None) for model, _, number in places]
    index.append(IndexedVersion("digits", 3, Reason.VERSION_REVOKED))
    engine = SimpleNamespace(live=lambda: live, index=lambda: index)
    right = Right(("carla",), (), ("metadata",), ("digits",), ("production",))

    def listed(name, *roles):
        service = InferenceService(engine, Behind(), Behind(), rights(right), Behind(), Behind())
        call = Call(SimpleNamespace(), "RepositoryIndex", StreamLimiter(GatewayLimits()))
        call.identify(SimpleNamespace(name=name, roles=roles))
        models = service.RepositoryIndex(oip.RepositoryIndexRequest(), call).models
        return [(item.name, item.version) for item in models]

    assert listed("carla", "client") == [("digits", "1")]
    assert listed("anna", "client") == []
    with refused(Reason.RIGHT_MISSING):
        listed("carla", "client", "auditor")


def test_the_health_of_a_model_needs_the_right_too():
    service = HealthService(Behind(), lambda call, method: None, rights())
    with refused(Reason.RIGHT_MISSING):
        ask(service, "Check", health_pb2.HealthCheckRequest(service="models/digits"))


@pytest.mark.parametrize("name", [*ASKED, *WIDE, *MODEL_QUESTIONS, "ModelInfer"])
def test_the_roles_of_an_action_are_those_of_its_methods(name):
    """`policy explain` reads ACTION_ROLES, the auth interceptor reads RULES: they must say the
    same.
    """
    action = (ASKED | WIDE | MODEL_QUESTIONS | {"ModelInfer": ("infer",)})[name][0]
    service = INFERENCE if name.startswith("Model") or name == "RepositoryIndex" else REGISTRY
    assert RULES[f"/{service}/{name}"] <= ACTION_ROLES[action]


def test_each_role_of_an_action_may_call_something():
    for action, roles in ACTION_ROLES.items():
        methods = {n: e[0] for n, e in (ASKED | WIDE | MODEL_QUESTIONS).items()}
        methods |= {"ModelInfer": "infer", "ReportOutcomes": "report", "WatchChanges": "read"}
        open_to = {
            role
            for path, allowed in RULES.items()
            if methods.get(path.rpartition("/")[2]) == action
            for role in allowed
        }
        assert open_to == roles


CLIENT = Right((), ("client",), ("infer",), ("digits",), (WILDCARD,))
NOBODY = Right((), ("auditor",), ("read",), (WILDCARD,), (WILDCARD,))


def test_what_was_allowed_is_not_under_the_next_policy() -> None:
    policies = [make_policy(rights=(CLIENT,))]
    rights = Rights(lambda: policies[-1])
    call = SimpleNamespace(principal=policies[0].with_role("client")[0])
    for _ in range(2):
        rights.check(call, "infer", "digits")  # type: ignore[arg-type]
    policies.append(make_policy(rights=(NOBODY,)))
    for _ in range(2):
        with refused(Reason.RIGHT_MISSING):
            rights.check(call, "infer", "digits")  # type: ignore[arg-type]
    policies.append(make_policy(rights=(CLIENT,)))
    rights.check(call, "infer", "digits")  # type: ignore[arg-type]


def test_what_was_allowed_is_for_that_caller_and_that_alone() -> None:
    policy = make_policy(rights=(Right((), ("client",), ("infer",), ("digits",), ("production",)),))
    rights = Rights(lambda: policy)
    client = SimpleNamespace(principal=policy.with_role("client")[0])
    other = SimpleNamespace(principal=policy.with_role("publisher")[0])
    rights.check(client, "infer", "digits", "production")  # type: ignore[arg-type]
    for call, asked in (
        (other, ("infer", "digits", "production")),
        (client, ("infer", "digits", "canary")),
        (client, ("infer", "digits", None)),
        (client, ("infer", "letters", "production")),
        (client, ("read", "digits", "production")),
    ):
        with refused(Reason.RIGHT_MISSING):
            rights.check(call, *asked)  # type: ignore[arg-type]


def test_a_decision_is_kept_for_the_policy_that_made_it() -> None:
    """Where another policy comes into force in the middle of a check."""
    before, after = make_policy(rights=(CLIENT,)), make_policy(rights=(NOBODY,))
    call = SimpleNamespace(principal=before.with_role("client")[0])
    current = [before]

    def check_under(policy: Policy) -> None:
        current[0] = policy
        kept.check(call, "infer", "digits")  # type: ignore[arg-type]

    class Principal:
        """Asked for its roles in the middle: the policy moves on, and is asked by somebody else."""

        name = call.principal.name

        @property
        def roles(self) -> tuple[str, ...]:
            if current[0] is before:
                with refused(Reason.RIGHT_MISSING):
                    check_under(after)
            return call.principal.roles

    kept = Rights(lambda: current[0])
    kept.check(SimpleNamespace(principal=Principal()), "infer", "digits")  # type: ignore[arg-type]
    with refused(Reason.RIGHT_MISSING):
        check_under(after)
