"""Who else has seen a log: what witnesses have cosigned of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sealgate.auditing.tree_check import Claim
from sealgate.reasons import Reason, Refusal
from sealgate.trust.transparency import open_checkpoint
from sealgate.trust.transparency.cosignature import WitnessKey, cosignatures


@dataclass(frozen=True, slots=True)
class Seen:
    """The witnesses that have cosigned a log's tree, by name, and what they say of it.

    `without` are those that were asked for and have not cosigned it.
    """

    names: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    claim: Claim | None = None


def read_witnessed(
    note: str, origin: str, vkey: str, witnesses: Sequence[WitnessKey], threshold: int
) -> Seen:
    """Return what witnesses say in the newest note that they have cosigned: the log has signed it
    (SIGNATURE_INVALID), and so have `threshold` of these (WITNESSES_TOO_FEW).

    Without witnesses that are asked for, nothing is found. Raises Refusal.
    """
    if not witnesses:
        return Seen()
    asked = {witness.name for witness in witnesses}
    if not note:
        if threshold:
            raise Refusal(Reason.WITNESSES_TOO_FEW, f"none has cosigned {origin}")
        return Seen(without=tuple(sorted(asked)))
    checkpoint = open_checkpoint(note, vkey)
    names = tuple(cosignature.witness for cosignature in cosignatures(note, witnesses))
    without = tuple(sorted(asked - set(names)))
    if len(names) < threshold:
        detail = f"{len(names)} of {threshold} for {origin}; without {', '.join(without)}"
        raise Refusal(Reason.WITNESSES_TOO_FEW, detail)
    claim = Claim(checkpoint.size, checkpoint.root, "what witnesses cosigned")
    return Seen(names, without, claim if names else None)
