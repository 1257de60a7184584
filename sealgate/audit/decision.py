"""Traces one answer back to the exact bytes of its model, with every step verified locally.

A step that does not hold is told with its reason, and those that rest on it are not taken.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from sealgate.audit.entries import LogExcerpt
from sealgate.audit.provenance import Provenance
from sealgate.audit.screening import OpenedFields, Search, find_beside, screening_outcome
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.policy import Policy
from sealgate.trust.policy.shares import CANARY
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import BY_CANARY
from sealgate.trust.times import parse_micros
from sealgate.trust.transparency import Checkpoint

HOLDS = "holds"


@dataclass(frozen=True, slots=True)
class DecisionStep:
    """What one step found: `found` is HOLDS, or a reason with its detail; where `waits`, the step
    may hold later.
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

        1. The receipt is that of an entry of an answer log (reasons of `verify_receipt`). What was
           asked, and what an answer was computed with, is told where its format says so.
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
        10. What screening found led to what left, by the policy, or with a second person's word
            (reasons of `screened.told`).

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
    screening_outcome = (f"{name} {opened[name]!r}" for name in names if opened[name])
    return ", ".join(screening_outcome) or "nothing of a request"


def _answering(opened: Mapping[str, str]) -> str:
    """The alias that answered; empty where the receipt does not say."""
    by_canary = BY_CANARY in opened.get("actions", "").split(",")
    return CANARY if by_canary else opened.get("alias", "")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise fields.malformed("a pointer's sequence is a number")
    return int(text)
