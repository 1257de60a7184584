"""Evidence as it comes with a version: signed by its maker, about these bytes and no others."""

from collections.abc import Sequence
from dataclasses import dataclass

from sealgate.reasons import Reason, Refusal
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements import Evidence, open_statement

MOST_ITEMS = 32
LARGEST_ITEM = 8 << 20
_MAKERS = ("publisher", "evidence")


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """An item that was checked: its kind, the digest of its payload, who made it, its envelope."""

    kind: str
    digest: str
    maker: str
    envelope: bytes


def open_evidence(
    envelopes: Sequence[bytes], version_digest: str, policy: Policy
) -> tuple[EvidenceItem, ...]:
    """Return the items of evidence for a version, in the order given.

    1. There are at most 32, each of at most 8 MiB (FILE_TOO_LARGE).
    2. Each is an evidence statement that its maker has signed, a publisher or a service of the
       role `evidence` (reasons of `open_statement`).
    3. Each is about this version, and no kind comes twice (EVIDENCE_MISMATCH).
    """
    # 1.
    if len(envelopes) > MOST_ITEMS or max(map(len, envelopes), default=0) > LARGEST_ITEM:
        raise Refusal(Reason.FILE_TOO_LARGE, "too much evidence")
    items = []
    for data in envelopes:
        envelope = Envelope.decode(data)
        # 2.
        statement = open_statement(envelope, Evidence, policy, _MAKERS)
        # 3.
        if statement.version_digest != version_digest:
            raise Refusal(Reason.EVIDENCE_MISMATCH, f"{statement.kind} is about other bytes")
        items.append(EvidenceItem(statement.kind, envelope.payload_digest, statement.maker, data))
    if len({item.kind for item in items}) != len(items):
        raise Refusal(Reason.EVIDENCE_MISMATCH, "a kind of evidence comes twice")
    return tuple(items)
