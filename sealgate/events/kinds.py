"""Events, as CloudEvents 1.0, and their kinds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sealgate.trust import canonical

PREFIX = "sealgate."
"""What a CloudEvent's type begins with, before the kind."""

KINDS: Mapping[str, str] = {
    "version.registered": "A version was registered",
    "version.revoked": "A version was revoked",
    "proposal.opened": "A promotion was proposed",
    "proposal.approved": "A proposal was approved",
    "proposal.rejected": "A proposal was rejected",
    "proposal.withdrawn": "A proposal was withdrawn",
    "proposal.commented": "A proposal was commented on",
    "alias.promoted": "An alias moved to a version",
    "alias.rolled-back": "An alias was rolled back",
    "alias.rolled-back-automatically": "An alias was rolled back automatically",
    "screening.bound-withdrawn": "The bound on screening's false alarms was withdrawn",
    "session.flagged": "A caller's requests look like an attack",
    "log.inconsistent": "A log is inconsistent",
    "witness.disagrees": "A witness disagrees with a log",
    "certificate.expiring": "A certificate expires soon",
    "policy.expiring": "The policy expires soon",
    "policy.accepted": "A policy was accepted",
    "model.created": "A model was created",
    "watermark.committed": "A watermark was committed",
}
"""Each kind, with its title."""


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Something that happened. `id` is the same whenever it is told again; with `source`, it tells
    the event from all others. `model` is empty where it is about none.
    """

    id: str
    source: str
    kind: str
    subject: str
    time: str
    model: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The event in the JSON format of CloudEvents 1.0, as canonical JSON."""
        event = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": PREFIX + self.kind,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "data": dict(self.data),
        }
        # The extension "partitioning": events of one model come in order.
        partition = {"partitionkey": self.model} if self.model else {}
        return canonical.encode(event | partition)
