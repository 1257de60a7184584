"""When a log's key was replaced: the first anchor by the next key is the hand-over, which both keys
have signed.
"""

from collections.abc import Sequence
from contextlib import suppress

from sealgate.audit.answer_logs import Anchor
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.transparency import current_vkey, open_checkpoint


def check_hand_overs(anchors: Sequence[Anchor], newest: str, keys: Sequence[str]) -> None:
    """Check the anchors of a log, in the registry log's order, and its `newest` signed checkpoint
    against the keys that it has had, the newest first: once a newer key has signed one, no older
    key alone signs another.

    Raises SealgateError(LOG_INCONSISTENT).
    """
    lines = list(dict.fromkeys(current_vkey(key) for key in keys))
    signed = [(f"entry {anchor.entry}", anchor.note) for anchor in anchors]
    if len(lines) < 2:
        return
    reached = len(lines)
    for what, note in [*signed, ("the newest checkpoint", newest)]:
        rank = next((n for n, line in enumerate(lines) if _signed(note, line)), reached)
        if rank > reached:
            detail = f"{what} is signed by a key that had been handed over"
            raise SealgateError(Reason.LOG_INCONSISTENT, detail)
        reached = min(reached, rank)


def _signed(note: str, vkey: str) -> bool:
    with suppress(SealgateError):
        open_checkpoint(note, vkey)
        return True
    return False


def hand_over_size(anchors: Sequence[Anchor], vkey: str) -> int:
    """The size of a log at the first anchor that its present key has signed: a former key vouches
    for no more. Raises SealgateError(ENTRY_UNANCHORED) before there is one.
    """
    for anchor in anchors:
        if _signed(anchor.note, current_vkey(vkey)):
            return anchor.size
    raise SealgateError(Reason.ENTRY_UNANCHORED, "no anchor by the log's present key yet")
