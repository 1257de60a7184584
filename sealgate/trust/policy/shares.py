"""Shares of production's traffic that `canary` answers or `shadow` receives as a copy.

The proposal for the alias states the share in whole percent, so people approve it together with the
version. With a share, `canary` answers requests in place of production, so its proposal needs as
many approvals as production does.

A keyed hash decides which requests belong to a share, equally on every gateway: HMAC-SHA256 under
the version's digest, over alias, model, caller and a session or input digest. A request stays in
the share when the same version's share grows.
"""

import hashlib
import hmac

from sealgate.trust import fields
from sealgate.trust.policy.document import Policy
from sealgate.trust.policy.rights import DEFAULT_ALIAS

CANARY_ALIAS = "canary"
SHADOW_ALIAS = "shadow"
_SPACE = 1 << 64


def check_share(alias: str, share: int) -> None:
    """Check the percentage of a proposal for an alias. Raises SealgateError(DOCUMENT_MALFORMED)."""
    if fields.integer(share) > 100 or (share and alias not in (CANARY_ALIAS, SHADOW_ALIAS)):
        raise fields.malformed("a share is a percentage, of canary or shadow")


def approvals_for(policy: Policy, model: str, alias: str, share: int) -> int:
    """Return how many people must approve. Raises SealgateError(ALIAS_UNKNOWN)."""
    aliases = {alias, DEFAULT_ALIAS} if alias == CANARY_ALIAS and share else {alias}
    return max(policy.approvals_for(name, model) for name in aliases)


def in_share(share: int, digest: str, *request: str) -> bool:
    """Say whether a request belongs to the share in percent of the version of that digest.

    `request` is alias, model, caller, and a session or an input's digest, none with a newline.
    """
    message = "\n".join(request).encode()
    drawn = hmac.new(digest.encode(), message, hashlib.sha256).digest()
    return int.from_bytes(drawn[:8]) * 100 < share * _SPACE
