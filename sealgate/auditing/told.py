"""What the registry's log tells of the answer logs: anchors, prunings, erasures, and policies."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sealgate.auditing.closed import Erased
from sealgate.auditing.tree_check import Claim
from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical, fields
from sealgate.trust.policy import Policy
from sealgate.trust.transparency import open_checkpoint
from sealgate.trust.transparency.note import Verifier

ANCHORED = "answers.anchored"
PRUNED = "log.pruned"
ACCEPTED = "policy.accepted"
ERASED = "subject.erased"
# What a leaf must contain before it is read as a whole.
_MARKS = tuple(f'"event":"{name}"'.encode() for name in (ANCHORED, PRUNED, ACCEPTED, ERASED))

_LONGEST_NOTE = 1 << 14


@dataclass(frozen=True, slots=True)
class Anchor:
    """Entry `entry` of the registry's log, of that time: an answer log's signed checkpoint."""

    entry: int
    time: str
    size: int
    note: str

    def claim(self, vkeys: Sequence[str]) -> Claim:
        """Return what the checkpoint says, which one of the keys that the log has had must have
        signed.

        Raises Refusal: SIGNATURE_INVALID, DOCUMENT_MALFORMED; LOG_INCONSISTENT where it states
        another size than its entry.
        """
        *others, last = vkeys
        checkpoint = None
        for vkey in others:
            try:
                checkpoint = open_checkpoint(self.note, vkey)
                break
            except Refusal:
                # A later policy may have added a second key, which did not sign what was before.
                continue
        checkpoint = checkpoint or open_checkpoint(self.note, last)
        if checkpoint.size != self.size:
            raise Refusal(Reason.LOG_INCONSISTENT, f"entry {self.entry} anchors another size")
        return Claim(checkpoint.size, checkpoint.root, f"the anchor in entry {self.entry}")


@dataclass(slots=True)
class Told:
    """Collects from the leaves of the registry's log, which come in order.

    `anchors`, `pruned` (how many entries) and `erased` are by origin; `policies` are the digests of
    accepted policies, oldest first.
    """

    anchors: dict[str, list[Anchor]] = field(default_factory=dict)
    pruned: dict[str, int] = field(default_factory=dict)
    erased: dict[str, Erased] = field(default_factory=dict)
    policies: list[str] = field(default_factory=list)

    def visit(self, index: int, leaf: bytes) -> None:
        """Raises Refusal(DOCUMENT_MALFORMED) for an entry that tells of a log in no known way."""
        if not any(mark in leaf for mark in _MARKS):
            return
        entry = fields.mapping(canonical.decode(leaf))
        event, body = entry.get("event"), fields.mapping(entry.get("body"))
        if event == ACCEPTED:
            self.policies.append(fields.text(body.get("digest")))
        elif event == PRUNED:
            origin, size = _origin(entry), fields.integer(body.get("size"))
            self.pruned[origin] = max(size, self.pruned.get(origin, 0))
            if "closed" in body:
                erased = self.erased.setdefault(origin, Erased())
                erased.pruned = max(erased.pruned, fields.integer(body["closed"]))
        elif event == ERASED:
            erased = self.erased.setdefault(_origin(entry), Erased())
            if "entries" in body:
                erased.entries += fields.integer(body["entries"])
            else:
                erased.uncounted += 1
        elif event == ANCHORED:
            size, time = fields.integer(body.get("size")), fields.text(entry.get("time"))
            anchor = Anchor(index, time, size, fields.text(body.get("checkpoint"), _LONGEST_NOTE))
            self.anchors.setdefault(_origin(entry), []).append(anchor)


def log_name(vkey: str) -> str:
    """The origin of the log that a verifier key of a policy is for."""
    return Verifier.from_vkey(vkey.partition(" ")[0]).name


def log_keys(policies: Sequence[Policy], origin: str) -> list[str]:
    """The keys that a log has had in a chain of policies, the newest first.

    Raises Refusal(LOG_UNKNOWN) where none names it.
    """
    keys: dict[str, None] = {}
    for policy in reversed(policies):
        try:
            keys[policy.log_key(origin)] = None
        except Refusal:
            continue
    if not keys:
        raise Refusal(Reason.LOG_UNKNOWN, f"no policy names {origin}")
    return list(keys)


def named_logs(policies: Sequence[Policy]) -> dict[str, str]:
    """Every log that a policy of the chain names, the registry's of the newest one first, and by
    which versions of the policy it was named.
    """
    versions: dict[str, list[int]] = {log_name(policies[-1].registry_log): []}
    for policy in policies:
        for vkey in (policy.registry_log, *policy.answer_logs):
            versions.setdefault(log_name(vkey), []).append(policy.version)
    return {origin: _versions(numbers) for origin, numbers in versions.items()}


def last_anchor(told: Told, policies: Sequence[Policy], origin: str) -> str:
    """What the newest anchor says of a log. Raises Refusal as `Anchor.claim`."""
    newest = max(told.anchors.get(origin, ()), key=lambda anchor: anchor.size, default=None)
    if newest is None:
        return "never anchored"
    claim = newest.claim(log_keys(policies, origin))
    return f"{claim.by} of {newest.time} says {claim.size} entries"


def _versions(numbers: Sequence[int]) -> str:
    first, last = min(numbers), max(numbers)
    return f"version {first}" if first == last else f"versions {first} to {last}"


def _origin(entry: dict[str, Any]) -> str:
    return fields.text(entry.get("subject")).removeprefix("logs/")
