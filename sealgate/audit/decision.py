"""Traces one answer back to the exact bytes of its model, with every step verified locally.

A step that does not hold is told with its reason, and those that rest on it are not taken.

Explains the screening verdict of a recorded request and what the policy made of it. The receipt
states verdict, caller and policy, and the policy states what a verdict leads to for that caller.
Two other causes have an entry of their own before the answer's: an allowance by which a request
passed, and a session whose answers are reduced.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from sealgate.audit.entries import LogExcerpt, ProvedEntry
from sealgate.audit.provenance import Provenance
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import CANARY_ALIAS, Consequence, Policy
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import (
    ANCHOR,
    BY_ALLOWANCE,
    BY_CANARY,
    FLOAT32,
    LABELS,
    MIXED,
    NONE,
    REDUCED,
)
from sealgate.trust.statements import open_statement
from sealgate.trust.statements.allowance import ALLOWED, Allowance, HeldRequest
from sealgate.trust.times import parse_micros
from sealgate.trust.transparency import Checkpoint

_ANSWERED = "answered"
# Between the two entries lie those of requests that ended at the same moment.
_BEFORE = 4096
# The consequences that a verdict may still have where a version is exempt from blocking.
_REACHED = frozenset((LABELS, BY_ALLOWANCE))
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
    of `open_statement`, SCREENING_REQUIRED for an answer that nothing screened and no policy
    exempts, ALLOWANCE_MISMATCH and ALLOWANCE_SIGNER for one that does not fit.
    """
    verdict = opened["verdict"]
    if opened.get("screening") == NONE and of_rows:
        policy.check_screening(opened["model"], screened=False)
        yield "NOT SCREENED, from which the policy exempts the model's risk tier"
    elif not verdict:
        yield "screening came to no verdict"
    elif opened["outcome"] != _ANSWERED or not of_rows:
        yield f"verdict {verdict}"
    else:
        yield from _answered(opened, policy, beside, excerpt)


def _answered(
    opened: Mapping[str, str],
    policy: Policy,
    beside: Callable[[], Mapping[str, str]],
    excerpt: Callable[[str], LogExcerpt],
) -> Iterator[str]:
    """The consequences of a verdict for an answer about rows."""
    verdict, caller = opened["verdict"], opened["principal"]
    roles = policy.principal(caller).roles
    screen = policy.screen(opened["model"])
    action = by_verdict = screen.action(verdict, roles, policy.rules)
    leads = "which leads to nothing" if verdict == "clean" else f"which leads to {action}"
    exempt = ", from which the version exempts its answers" if action == Consequence.BLOCK else ""
    yield f"verdict {verdict}, {leads} for {caller}{exempt}"
    if exempt and _REACHED.intersection(opened.get("actions", "").split(",")):
        # Before 0.3 such answers left whole.
        action = by_verdict = screen.action_without_block(verdict, roles, policy.rules)
    if opened.get("arithmetic") in (FLOAT32, MIXED):
        action = screen.with_disagreement(action, roles)
        yield "float32's answer left where that in INT8 was of another class"
    if opened.get("arithmetic") == ANCHOR:
        yield f"a near-duplicate of an earlier row of {caller} was answered with that row's class"
    sessions = screen.sessions
    found = (sessions.search, sessions.extraction) if sessions is not None else ()
    watched = Consequence.LABEL_ONLY in found
    entries = beside() if action == Consequence.STEP_UP or watched else {}
    if action == Consequence.STEP_UP:
        if ALLOWED not in entries:
            raise SealgateError(Reason.ENTRY_UNKNOWN, "no allowance is shown by which it passed")
        yield _allowed(opened, policy, entries[ALLOWED], excerpt(entries[ALLOWED]))
    labels = action == Consequence.LABEL_ONLY
    causes = {
        f"the verdict {verdict}": by_verdict == Consequence.LABEL_ONLY,
        "classes that differ in INT8 and float32": labels and action != by_verdict,
        f"a role of {caller}": screen.labels_only(roles),
        f"a row that nearly repeats one of {caller}": opened.get("arithmetic") == ANCHOR,
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
    if HeldRequest.of(allowance) != held:
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


HOLDS = "holds"


@dataclass(frozen=True, slots=True)
class DecisionStep:
    """The result of one step: `found` is HOLDS, or a reason with its detail; where `waits`, the
    step may hold later.
    """

    step: str
    what: str
    found: str = HOLDS
    waits: bool = False


class Reader(Protocol):
    """`sealgate.audit.reader.AuditReader`, as far as it is needed here."""

    def anchor(self, proved: Checkpoint, index: int) -> str: ...

    def decision(
        self, model: str, version_digest: str, sequence: int, allowance: str = ""
    ) -> LogExcerpt: ...

    def openings(
        self, origin: str, start: int, end: int, values: Sequence[str] = ()
    ) -> Iterable[OpenedFields]: ...


class Examination:
    """The examination of one receipt, under a chain of policies that the root keys vouch for."""

    def __init__(self, receipt: Receipt, policies: Sequence[Policy], now: datetime) -> None:
        self._receipt = receipt
        self._chain = {policy.digest: policy for policy in policies}
        self._policies = policies
        self._now = now

    def findings(self, reader: Reader) -> Iterator[DecisionStep]:
        """The steps, in order:

        1. The receipt is that of an entry of an answer log (reasons of `verify_receipt`). The
           request, and the arithmetic of the answer, are shown where its format has them.
        2. The policy that it names is of the chain and was in its time.
        3. The version is registered in the registry's log; its manifest names each file.
        4. The publisher's key has signed these files.
        5. The pointer follows from what people signed (reasons of `verify_pointer`), and is that of
           the alias which answered, where the receipt names it.
        6. Its proposal and approvals were in the log before it.
        7. Each item of evidence that the proposal names is there, signed by its maker; so is what
           was attached later.
        8. The pointer was the newest when the answer was given, or was so within the policy's
           freshness and grace.
        9. The version had not been revoked.
        10. The policy, or a second person's allowance, lets screening's verdict lead to the answer
            that left (reasons of `screening_outcome`).

        11. An anchor in the registry's log covers the entry (reasons of `find_anchor`).

        Step 11 is told second, and the others are taken though it does not hold. An answer that
        came to no version ends with step 2.
        """
        step = "receipt"
        try:
            verified = verify_receipt(self._receipt, self._policies[-1])
            if not self._receipt.opens_for_caller:
                raise fields.malformed("a receipt that does not open what its caller may see")
            opened = verified.fields
            entry = f"entry {self._receipt.proof.index} of {verified.checkpoint.origin}"
            whose = f"{opened['outcome']} to {opened['principal']} at {opened['time']}"
            yield DecisionStep(step, f"{entry}: {whose}")  # 1.
            yield self._anchor(reader, verified.checkpoint)  # 11.
            if "alias" in opened:
                yield DecisionStep("request", _asked(opened))
            step = "policy"
            at = parse_micros(opened["time"])
            yield DecisionStep(step, self._policy(opened["policy_digest"], at))  # 2.
            if not opened["version_digest"]:
                return
            step = "version"
            digest, sequence = opened["version_digest"], _number(opened["pointer_sequence"])
            fetch = partial(reader.decision, opened["model"], digest, sequence)
            subject = f"models/{opened['model']}/versions/{opened['version']}"
            case = Provenance(fetch(), subject, digest, sequence, at, _answering(opened))
            search = partial(reader.openings, verified.checkpoint.origin)
            screening = self._screening(opened, case, fetch, search)  # 10.
            for step, findings in (*self._steps(case), ("screening", screening)):
                for what in findings:
                    yield DecisionStep(step, what)
        except SealgateError as refusal:
            yield _refused(step, refusal)

    def _anchor(self, reader: Reader, proved: Checkpoint) -> DecisionStep:
        try:
            return DecisionStep("anchor", reader.anchor(proved, self._receipt.proof.index))
        except SealgateError as refusal:
            return _refused("anchor", refusal)

    def _steps(self, case: Provenance) -> Iterator[tuple[str, Iterator[str]]]:
        """The steps 3 to 9; each is taken when its turn comes."""
        yield "version", case.version()
        yield "publisher", case.publisher(self._policies)
        yield "pointer", case.pointer(self._chain, self._policies[-1], self._now)
        yield "approvals", case.approvals()
        yield "evidence", case.evidence(self._chain)
        yield "later evidence", case.attached(self._policies)
        yield "freshness", case.freshness(self._chain)
        yield "revocation", case.revocation()

    def _screening(
        self,
        opened: Mapping[str, str],
        case: Provenance,
        fetch: Callable[..., LogExcerpt],
        search: Search,
    ) -> Iterator[str]:
        policy = self._chain[opened["policy_digest"]]
        beside = partial(find_beside, opened, self._receipt.proof.index, search)
        yield from screening_outcome(
            opened, policy, beside, lambda word: fetch(allowance=word), case.judges_rows()
        )

    def _policy(self, digest: str, at: datetime) -> str:
        policy = self._chain.get(digest)
        if policy is None:
            raise SealgateError(
                Reason.POLICY_INVALID, "the receipt names a policy not of the chain"
            )
        policy.check_standing(at)
        policy.check_begun(at)
        return f"version {policy.version} of the chain, {digest}"


def _refused(step: str, refusal: SealgateError) -> DecisionStep:
    found = f"{refusal.reason.name}: {refusal.detail or refusal.reason.sentence}"
    return DecisionStep(step, "", found, refusal.reason is Reason.ENTRY_UNANCHORED)


def _asked(opened: Mapping[str, str]) -> str:
    """Return the non-empty fields of an entry that describe the request and its answer."""
    names = ("alias", "request_id", "parameters", "screening", "arithmetic", "actions")
    told = (f"{name} {opened[name]!r}" for name in names if opened[name])
    return ", ".join(told) or "nothing of a request"


def _answering(opened: Mapping[str, str]) -> str:
    """The alias that answered; empty where the receipt does not say."""
    by_canary = BY_CANARY in opened.get("actions", "").split(",")
    return CANARY_ALIAS if by_canary else opened.get("alias", "")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise fields.malformed("a pointer's sequence is a number")
    return int(text)
