"""The policy: the signed, versioned root document, and the rules that its sections hold."""

from sealgate.trust.policy.answers import AnswerClassifierRules, AnswerRules, FindingKind
from sealgate.trust.policy.chain import (
    check_next_version,
    next_policy,
    open_policy,
    open_policy_chain,
    open_policy_history,
    policy_changes,
)
from sealgate.trust.policy.document import OPTIONAL_SECTIONS, Policy, optional_sections
from sealgate.trust.policy.health_limits import HealthLimits, OutcomeLimits, OutcomeRules
from sealgate.trust.policy.principals import (
    ALL_ROLES,
    KEYID,
    Consequence,
    ModelSigner,
    PolicyRoot,
    PolicyRules,
    Principal,
    SigstoreIdentity,
)
from sealgate.trust.policy.promotion_rules import EvidenceRules, approval_end
from sealgate.trust.policy.rights import (
    ACTION_ROLES,
    DEFAULT_ALIAS,
    STAFF_ROLES,
    WILDCARD,
    Right,
    RightsDecision,
    decide_rights,
)
from sealgate.trust.policy.screening import (
    STRICTEST_FIRST,
    PromptClassifierRules,
    ScreeningRules,
    SessionRules,
    StepUpRule,
)
from sealgate.trust.policy.shares import (
    CANARY_ALIAS,
    SHADOW_ALIAS,
    approvals_for,
    check_share,
    in_share,
)
from sealgate.trust.policy.validity import Withdrawal

__all__ = [
    "ACTION_ROLES",
    "ALL_ROLES",
    "CANARY_ALIAS",
    "DEFAULT_ALIAS",
    "KEYID",
    "OPTIONAL_SECTIONS",
    "SHADOW_ALIAS",
    "STAFF_ROLES",
    "STRICTEST_FIRST",
    "WILDCARD",
    "AnswerClassifierRules",
    "AnswerRules",
    "Consequence",
    "EvidenceRules",
    "FindingKind",
    "HealthLimits",
    "ModelSigner",
    "OutcomeLimits",
    "OutcomeRules",
    "Policy",
    "PolicyRoot",
    "PolicyRules",
    "Principal",
    "PromptClassifierRules",
    "Right",
    "RightsDecision",
    "ScreeningRules",
    "SessionRules",
    "SigstoreIdentity",
    "StepUpRule",
    "Withdrawal",
    "approval_end",
    "approvals_for",
    "check_next_version",
    "check_share",
    "decide_rights",
    "in_share",
    "next_policy",
    "open_policy",
    "open_policy_chain",
    "open_policy_history",
    "optional_sections",
    "policy_changes",
]
