"""Evidence that was attached to a version after it was registered, checked on the reader's machine.

The registry checked it under the policy of that day; here any policy of the chain will do, so that
a report stays readable when who made it has left.
"""

from collections.abc import Iterable, Sequence

from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.promotion_rules import ATTACHED, ATTACHERS
from sealgate.trust.statements import Evidence, open_under


def open_attached(
    envelopes: Iterable[bytes], version_digest: str, policies: Sequence[Policy]
) -> tuple[Evidence, ...]:
    """Return the items, in their order.

    1. A publisher, an approver or an admin of one of the policies has signed it (reasons of
       `open_under`).
    2. It is of a kind that may come later, and about this version (EVIDENCE_MISMATCH).
    """
    items = []
    for data in envelopes:
        # 1.
        item = open_under(Envelope.decode(data), Evidence, policies, ATTACHERS)
        # 2.
        if item.kind not in ATTACHED or item.version_digest != version_digest:
            raise Refusal(Reason.EVIDENCE_MISMATCH, f"{item.kind} of {item.version_digest}")
        items.append(item)
    return tuple(items)
