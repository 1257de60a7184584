"""The chain of policies in force, and the freshness statement."""

from registry.policy.freshness import (
    FreshnessKeeper,
    ended_proposals,
    newest_envelope,
    newest_state,
    stored_envelope,
)
from registry.policy.policies import (
    PinnedRoot,
    Policies,
    PolicyBook,
    PolicyChain,
    check_answer_log,
    open_own,
)

__all__ = [
    "FreshnessKeeper",
    "PinnedRoot",
    "Policies",
    "PolicyBook",
    "PolicyChain",
    "check_answer_log",
    "ended_proposals",
    "newest_envelope",
    "newest_state",
    "open_own",
    "stored_envelope",
]
