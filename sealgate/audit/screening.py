"""Explains the screening verdict of a recorded request and what the policy made of it.

The receipt states verdict, caller and policy, and the policy states what a verdict leads to for
that caller. Two other causes have an entry of their own before the answer's: an allowance by which
a request passed, and a session whose answers are reduced.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from sealgate.audit.entries import LogExcerpt, ProvedEntry
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.policy.principals import BLOCK, LABEL_ONLY
from sealgate.trust.policy.screening import STEP_UP
from sealgate.trust.receipts.answer_entry import REDUCED
from sealgate.trust.statements import open_statement
from sealgate.trust.statements.allowance import ALLOWED, Allowance, HeldRequest

_ANSWERED = "answered"
# Between the two entries lie those of requests that ended at the same moment.
_BEFORE = 4096
_SAME = ("time", "principal", "model", "version_digest", "input")


class OpenedFields(Protocol):
    @property
    def fields(self) -> Mapping[str, str] | None: ...


Search = Callable[[int, int, Sequence[str]], Iterable[OpenedFields]]
"""From a range of an answer log and values to the entries that have each of them."""


def screening_outcome(
    opened: Mapping[str, str],
    policy: Policy,
    beside: Callable[[], Mapping[str, str]],
    excerpt: Callable[[str], LogExcerpt],
    of_rows: bool,
) -> Iterator[str]:
    """Describe the screening of a request from its opened fields and the policy that it names.

    `beside` gives the outputs of its other entries by outcome, and `excerpt` the registry's entries
    with that of an allowance. Only answers about rows (`of_rows`) are allowed or reduced; of a
    generated one, what may not leave whole is refused.

    Raises SealgateError: ENTRY_UNKNOWN where it passed by an allowance that is not shown, reasons
    of `open_statement`, ALLOWANCE_MISMATCH and ALLOWANCE_SIGNER for one that does not fit.
    """
    verdict, caller = opened["verdict"], opened["principal"]
    if not verdict:
        yield "screening came to no verdict"
        return
    if opened["outcome"] != _ANSWERED or not of_rows:
        yield f"verdict {verdict}"
        return
    roles = policy.principal(caller).roles
    screen = policy.screen(opened["model"])
    action = screen.action(verdict, roles, policy.rules)
    leads = "which leads to nothing" if verdict == "clean" else f"which leads to {action}"
    exempt = ", from which the version exempts its answers" if action == BLOCK else ""
    yield f"verdict {verdict}, {leads} for {caller}{exempt}"
    sessions = screen.sessions
    watched = sessions is not None and LABEL_ONLY in (sessions.search, sessions.extraction)
    entries = beside() if action == STEP_UP or watched else {}
    if action == STEP_UP:
        if ALLOWED not in entries:
            raise SealgateError(Reason.ENTRY_UNKNOWN, "no allowance is shown by which it passed")
        yield _allowed(opened, policy, entries[ALLOWED], excerpt(entries[ALLOWED]))
    causes = {
        f"the verdict {verdict}": action == LABEL_ONLY,
        f"a role of {caller}": screen.labels_only(roles),
        f"what the {entries.get(REDUCED)} of {caller} looked like": REDUCED in entries,
    }
    if any(causes.values()):
        why = " and ".join(cause for cause, holds in causes.items() if holds)
        yield f"the likeliest classes alone left, for {why}"


def find_beside(opened: Mapping[str, str], index: int, search: Search) -> dict[str, str]:
    """The outputs, by outcome, of the other entries of the request that ended with entry `index`.

    That there is no other is the gateway's word. Raises SealgateError as `search` does.
    """
    wanted = [opened[name] for name in ("time", "principal", "input")]
    found = [each.fields for each in search(max(0, index - _BEFORE), index, wanted)]
    return {
        values["outcome"]: values["output"]
        for values in found
        if values is not None and all(values[name] == opened[name] for name in _SAME)
    }


def _allowed(opened: Mapping[str, str], policy: Policy, digest: str, excerpt: LogExcerpt) -> str:
    entry = _used(digest, excerpt)
    envelope = Envelope.decode(entry.document(str(entry.body["envelope"])))
    step_up = policy.screen(opened["model"]).step_up
    allowance = open_statement(envelope, Allowance, policy, (step_up.role,) if step_up else ())
    held = HeldRequest(
        opened["principal"], opened["model"], opened["version_digest"], opened["input"]
    )
    if HeldRequest(allowance.caller, allowance.model, allowance.digest, allowance.input) != held:
        raise SealgateError(Reason.ALLOWANCE_MISMATCH, digest)
    if allowance.person == allowance.caller or envelope.payload_digest != digest:
        raise SealgateError(Reason.ALLOWANCE_SIGNER, allowance.person)
    return (
        f"allowed by {allowance.person} at {allowance.issued}, used at {entry.time} (entry "
        f"{entry.index}): {allowance.reason}"
    )


def _used(digest: str, excerpt: LogExcerpt) -> ProvedEntry:
    for entry in excerpt.of("request.allowed"):
        if entry.body["allowance"] == digest:
            return entry
    raise SealgateError(Reason.ENTRY_UNKNOWN, f"the use of the allowance {digest} is not shown")
