"""The policy: the signed, versioned root document, and the rules that its sections hold."""

from sealgate.trust.policy.chain import (
    check_next_version,
    next_policy,
    open_policy,
    open_policy_chain,
    open_policy_history,
)
from sealgate.trust.policy.document import Policy
from sealgate.trust.policy.principals import (
    ModelSigner,
    PolicyRoot,
    PolicyRules,
    Principal,
    SigstoreIdentity,
)
from sealgate.trust.policy.rights import DEFAULT_ALIAS, Right

__all__ = [
    "DEFAULT_ALIAS",
    "ModelSigner",
    "Policy",
    "PolicyRoot",
    "PolicyRules",
    "Principal",
    "Right",
    "SigstoreIdentity",
    "check_next_version",
    "next_policy",
    "open_policy",
    "open_policy_chain",
    "open_policy_history",
]
