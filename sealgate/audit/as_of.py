"""Which version of each model was live at a given time, proved by entries of the registry's log.

The proof has two parts. Sequences have no gaps, so the last move up to the time is shown together
with the next one, which came after the time or is the newest by the freshness key's word. And
everybody must be shown the same log, which `audit verify`, `audit follow` and every client check;
only that stops both keys from signing another history.
"""

from dataclasses import dataclass

from sealgate.audit.entries import LogExcerpt
from sealgate.reasons import Reason, SealgateError


@dataclass(frozen=True, slots=True)
class LivePointer:
    """An alias at a time: which move counted, and the entry of the log that proves it.

    `until` is when the next move came, `revoked` when the version was revoked by then; empty where
    neither had happened.
    """

    model: str
    alias: str
    version: int
    digest: str
    sequence: int
    action: str
    admin: str
    since: str
    until: str
    revoked: str
    entry: int


def live_pointers(excerpt: LogExcerpt, time: str, model: str = "") -> tuple[LivePointer, ...]:
    """The aliases that pointed at something at `time` (text as in the log), of `model` or of all.

    1. The aliases are those of the freshness statement.
    2. Of each, the last move up to the time is shown, and that nothing came between it and the
       time (`LogExcerpt.after`); or else that its first move came later.
    3. A version that is revoked comes with the entry that says when.

    Raises SealgateError(LOG_INCONSISTENT) where something is withheld.
    """
    found = []
    # 1.
    for place, newest, digest in excerpt.freshness.pointers:
        name, _, alias = place.partition("/")
        if model in ("", name):
            standing = _standing(excerpt, name, alias, time, newest, digest)
            if standing is not None:
                found.append(standing)
    return tuple(found)


def _standing(
    excerpt: LogExcerpt, model: str, alias: str, time: str, newest: int, digest: str
) -> LivePointer | None:
    # 2.
    subject = f"models/{model}/aliases/{alias}"
    earlier = [e for e in excerpt.of("pointer.moved") if e.subject == subject and e.time <= time]
    last = max(earlier, key=lambda e: int(e.body["sequence"]), default=None)
    sequence = int(last.body["sequence"]) if last else 0
    if sequence > newest:
        raise SealgateError(Reason.LOG_INCONSISTENT, f"{subject}: {sequence} after {newest}")
    following = excerpt.after(subject, sequence, str(last.body["pointer"]) if last else "")
    if following is not None and following.time <= time:
        raise SealgateError(
            Reason.LOG_INCONSISTENT, f"{subject}: a later move was already in force"
        )
    if last is None:
        return None
    # 3.
    revoked = excerpt.revoked_at(model, str(last.body["digest"]))
    return LivePointer(
        model=model,
        alias=alias,
        version=int(last.body["version"]),
        digest=str(last.body["digest"]),
        sequence=sequence,
        action=str(last.body["action"]),
        admin=last.principal,
        since=last.time,
        until=following.time if following else "",
        revoked=revoked if revoked and revoked <= time else "",
        entry=last.index,
    )
