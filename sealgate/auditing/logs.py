"""What an auditor asks of a log beyond its root: who else has seen it, what was pruned of it."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical, merkle
from sealgate.trust.checkpoint import open_checkpoint
from sealgate.trust.cosignature import WitnessKey, cosignatures

_PRUNED = b'"event":"log.pruned"'


@dataclass(frozen=True, slots=True)
class Seen:
    """The witnesses that have cosigned a log's tree of `size`, by name."""

    names: tuple[str, ...] = ()
    size: int = 0


def check_witnessed(
    note: str, vkey: str, hashes: Sequence[bytes], witnesses: Sequence[WitnessKey], threshold: int
) -> Seen:
    """Check the newest note that witnesses have cosigned against a log's leaf hashes.

    1. The log has signed it (SIGNATURE_INVALID), and so have `threshold` of the witnesses
       (WITNESSES_TOO_FEW).
    2. The leaves lead to its root (LOG_INCONSISTENT).

    Without witnesses that are asked for, nothing is found. Raises Refusal.
    """
    if not witnesses:
        return Seen()
    # 1.
    if not note:
        if threshold:
            raise Refusal(Reason.WITNESSES_TOO_FEW, "none has cosigned the log")
        return Seen()
    checkpoint = open_checkpoint(note, vkey)
    found = cosignatures(note, witnesses)
    if len(found) < threshold:
        raise Refusal(
            Reason.WITNESSES_TOO_FEW, f"{len(found)} of {threshold} for {checkpoint.origin}"
        )
    # 2.
    seen = hashes[: checkpoint.size]
    if len(seen) != checkpoint.size or merkle.root(seen) != checkpoint.root:
        raise Refusal(
            Reason.LOG_INCONSISTENT, f"{checkpoint.origin} does not extend what witnesses saw"
        )
    return Seen(tuple(cosignature.witness for cosignature in found), checkpoint.size)


def note_pruning(leaf: bytes, prunings: MutableMapping[str, int]) -> None:
    """Where an entry of the registry's log tells of a pruning, keep how far it goes, by origin."""
    if _PRUNED not in leaf:
        return
    try:
        entry = canonical.decode(leaf)
        event, subject, size = entry["event"], entry["subject"], entry["body"]["size"]
    except (Refusal, KeyError, TypeError):
        return
    if event == "log.pruned" and isinstance(subject, str) and isinstance(size, int):
        origin = subject.removeprefix("logs/")
        prunings[origin] = max(size, prunings.get(origin, 0))
