"""From one answer to exact bytes: each step verified here, from the pinned root keys.

A step that does not hold is told with its reason, and those that rest on it are not taken.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from sealgate.auditing.entries import Entry, Excerpt
from sealgate.auditing.screened import Opened, Search, find_beside, told
from sealgate.later_evidence import open_attached
from sealgate.reasons import Reason, Refusal
from sealgate.signed_version import DETECTOR
from sealgate.trust import fields, oms
from sealgate.trust.dsse import Envelope
from sealgate.trust.evidence_rules import MAKERS
from sealgate.trust.manifest import Manifest
from sealgate.trust.policy import Policy
from sealgate.trust.promotion import CLOCK_SKEW, open_statement, verify_pointer
from sealgate.trust.receipt import CALLER_FIELDS, Receipt, verify_receipt
from sealgate.trust.statements import Approval, Evidence, Pointer, PointerBundle, Proposal
from sealgate.trust.times import parse_micros, parse_time

HOLDS = "holds"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one step found: `found` is HOLDS, or a reason with its detail."""

    step: str
    what: str
    found: str = HOLDS


class Reader(Protocol):
    """`sealgate.auditing.reader.AuditReader`, as far as it is needed here."""

    def decision(
        self, model: str, version_digest: str, sequence: int, allowance: str = ""
    ) -> Excerpt: ...

    def openings(
        self, origin: str, start: int, end: int, values: Sequence[str] = ()
    ) -> Iterable[Opened]: ...


class Examination:
    """The examination of one receipt, under a chain of policies that the root keys vouch for."""

    def __init__(self, receipt: Receipt, policies: Sequence[Policy], now: datetime) -> None:
        self._receipt = receipt
        self._chain = {policy.digest: policy for policy in policies}
        self._policies = policies
        self._now = now

    def findings(self, reader: Reader) -> Iterator[Finding]:
        """The steps, in order:

        1. The receipt is that of an entry of an answer log (reasons of `verify_receipt`).
        2. The policy that it names is of the chain and was in its time.
        3. The version is registered in the registry's log; its manifest names each file.
        4. The publisher's key has signed these files.
        5. The pointer follows from what people signed (reasons of `verify_pointer`).
        6. Its proposal and approvals were in the log before it.
        7. Each item of evidence that the proposal names is there, signed by its maker; so is what
           was attached later.
        8. The pointer was the newest when the answer was given, or was so within the policy's
           freshness and grace.
        9. The version had not been revoked.
        10. What screening found led to what left, by the policy, or with a second person's word
            (reasons of `screened.told`).

        An answer that came to no version ends with step 2.
        """
        step = "receipt"
        try:
            verified = verify_receipt(self._receipt, self._policies[-1])
            opened = _opened(verified.fields)
            entry = f"entry {self._receipt.proof.index} of {verified.checkpoint.origin}"
            whose = f"{opened['outcome']} to {opened['principal']} at {opened['time']}"
            yield Finding(step, f"{entry}: {whose}")  # 1.
            step = "policy"
            at = parse_micros(opened["time"])
            yield Finding(step, self._policy(opened["policy_digest"], at))  # 2.
            if not opened["version_digest"]:
                return
            step = "version"
            digest, sequence = opened["version_digest"], _number(opened["pointer_sequence"])
            fetch = partial(reader.decision, opened["model"], digest, sequence)
            subject = f"models/{opened['model']}/versions/{opened['version']}"
            case = _Case(fetch(), subject, digest, sequence, at)
            search = partial(reader.openings, verified.checkpoint.origin)
            screening = self._screening(opened, case, fetch, search)  # 10.
            for step, findings in (*self._steps(case), ("screening", screening)):
                for what in findings:
                    yield Finding(step, what)
        except Refusal as refusal:
            detail = f"{refusal.reason.name}: {refusal.detail or refusal.reason.sentence}"
            yield Finding(step, "", detail)

    def _steps(self, case: "_Case") -> Iterator[tuple[str, Iterator[str]]]:
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
        case: "_Case",
        fetch: Callable[..., Excerpt],
        search: Search,
    ) -> Iterator[str]:
        policy = self._chain[opened["policy_digest"]]
        beside = partial(find_beside, opened, self._receipt.proof.index, search)
        yield from told(
            opened, policy, beside, lambda word: fetch(allowance=word), case.judges_rows()
        )

    def _policy(self, digest: str, at: datetime) -> str:
        policy = self._chain.get(digest)
        if policy is None:
            raise Refusal(Reason.POLICY_INVALID, "the receipt names a policy not of the chain")
        policy.check_standing(at)
        policy.check_begun(at)
        return f"version {policy.version} of the chain, {digest}"


def _opened(values: Mapping[str, str]) -> Mapping[str, str]:
    if not values.keys() >= set(CALLER_FIELDS):
        raise fields.malformed("a receipt that does not open what its caller may see")
    return values


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise fields.malformed("a pointer's sequence is a number")
    return int(text)


class _Case:
    """What an answer rests on, taken step by step."""

    def __init__(
        self, excerpt: Excerpt, subject: str, digest: str, sequence: int, at: datetime
    ) -> None:
        self._excerpt = excerpt
        self._subject = subject
        self._digest = digest
        self._sequence = sequence
        self._at = at
        self._publisher = ""
        self._moves: list[tuple[Entry, PointerBundle]] = []

    def version(self) -> Iterator[str]:
        # 3.
        entry = self._registered()
        yield f"{self._subject} is {self._digest}, registered {entry.time} (entry {entry.index})"
        for file in self._manifest().files:
            yield f"file {file.path}, {file.size} bytes, {file.digest}"

    def publisher(self, policies: Sequence[Policy]) -> Iterator[str]:
        # 4.
        entry = self._registered()
        signature = entry.document(str(entry.body["signature"]))
        key = oms.verify(signature, self._manifest(), policies[-1].keys.values())
        holders = [policy.holder(key.keyid) for policy in reversed(policies)]
        names = [holder.name for holder in holders if holder is not None]
        if entry.principal not in names:
            raise Refusal(Reason.SIGNER_MISMATCH, f"{entry.principal} has no such key")
        self._publisher = entry.principal
        yield f"{entry.principal} signed these files with key {key.keyid}"

    def pointer(self, chain: dict[str, Policy], newest: Policy, now: datetime) -> Iterator[str]:
        # 5.
        moves = [
            entry
            for entry in self._excerpt.of("pointer.moved")
            if entry.body["sequence"] == self._sequence and entry.body["digest"] == self._digest
        ]
        if not moves:
            raise Refusal(Reason.POINTER_INVALID, "no move of that sequence to this version")
        for entry in moves:
            bundle = PointerBundle.decode(entry.document(str(entry.body["bundle"])))
            pointer = verify_pointer(bundle, chain, newest, self._publisher, now)
            self._check(entry, bundle, pointer)
            self._moves.append((entry, bundle))
            yield (
                f"{entry.subject} move {pointer.sequence}, {pointer.action} by {pointer.admin} at "
                f"{entry.time} (entry {entry.index}): {pointer.reason}"
            )

    def approvals(self) -> Iterator[str]:
        # 6.
        for entry, bundle in self._moves:
            proposal = Proposal.decode(bundle.proposal.payload)
            proposed = self._logged("proposal.created", "proposal", bundle.proposal, entry)
            yield (
                f"proposed by {proposal.proposer} at {proposed.time} (entry {proposed.index}): "
                f"{bundle.proposal.payload_digest}"
            )
            for envelope in bundle.approvals:
                approval = Approval.decode(envelope.payload)
                approved = self._logged("approval.added", "approval", envelope, entry)
                yield (
                    f"approved by {approval.approver} at {approved.time} (entry "
                    f"{approved.index}), meaning: {approval.meaning}"
                )

    def evidence(self, chain: dict[str, Policy]) -> Iterator[str]:
        # 7.
        entry = self._registered()
        envelopes = [Envelope.decode(entry.document(d)) for d in entry.body["evidence"]]
        by_digest = {envelope.payload_digest: envelope for envelope in envelopes}
        for _, bundle in self._moves:
            proposal = Proposal.decode(bundle.proposal.payload)
            policy = chain[proposal.policy]
            for kind, digest in proposal.evidence:
                if digest not in by_digest:
                    raise Refusal(Reason.EVIDENCE_MISSING, f"{kind} {digest}")
                item = open_statement(by_digest[digest], Evidence, policy, MAKERS)
                if policy.evidence is not None:
                    policy.evidence.check_maker(kind, policy.principal(item.maker).roles)
                if (item.kind, item.version_digest) != (kind, self._digest):
                    raise Refusal(Reason.EVIDENCE_MISMATCH, f"{kind} {digest}")
                yield f"{kind} by {item.maker} at {item.created}, {digest}"

    def attached(self, policies: Sequence[Policy]) -> Iterator[str]:
        for entry in self._excerpt.of("evidence.attached"):
            if entry.subject == self._subject:
                data = entry.document(str(entry.body["envelope"]))
                (item,) = open_attached((data,), self._digest, policies)
                yield (
                    f"{item.kind} by {item.maker}, attached at {entry.time} (entry {entry.index}), "
                    f"which no proposal names"
                )

    def freshness(self, chain: dict[str, Policy]) -> Iterator[str]:
        # 8.
        for entry, bundle in self._moves:
            pointer = Pointer.decode(bundle.pointer.payload)
            if parse_time(entry.time) > self._at + CLOCK_SKEW:
                raise Refusal(Reason.POINTER_INVALID, f"the move came later, at {entry.time}")
            following = self._excerpt.after(
                entry.subject, pointer.sequence, bundle.pointer.payload_digest
            )
            if following is None or parse_time(following.time) > self._at:
                yield f"{entry.subject} move {pointer.sequence} was the newest"
                continue
            late = (self._at - parse_time(following.time)).total_seconds()
            rules = chain[pointer.policy].rules
            longest = rules.freshness_seconds + rules.grace_seconds
            if late > longest:
                raise Refusal(Reason.POINTER_STALE, f"superseded {late:.0f} s before")
            yield f"superseded {late:.1f} s before, within the {longest} s that the policy grants"

    def revocation(self) -> Iterator[str]:
        # 9.
        revoked = self._excerpt.revoked_at(self._digest)
        if revoked and parse_time(revoked) <= self._at:
            raise Refusal(Reason.VERSION_REVOKED, f"at {revoked}, before the answer")
        yield f"revoked later, at {revoked}" if revoked else "not revoked"

    def judges_rows(self) -> bool:
        return DETECTOR in {file.path for file in self._manifest().files}

    def _registered(self) -> Entry:
        for entry in self._excerpt.of("version.registered"):
            if (entry.subject, entry.body["digest"]) == (self._subject, self._digest):
                return entry
        raise Refusal(Reason.VERSION_UNKNOWN, f"no registration of {self._subject} is shown")

    def _manifest(self) -> Manifest:
        entry = self._registered()
        manifest = Manifest.decode(entry.document(str(entry.body["manifest"])))
        if manifest.digest != self._digest:
            raise Refusal(Reason.DIGEST_MISMATCH, "the manifest is not the version's")
        return manifest

    def _check(self, entry: Entry, bundle: PointerBundle, pointer: Pointer) -> None:
        place = f"models/{pointer.model}/versions/{pointer.version}"
        told = (entry.body["pointer"], self._sequence, self._digest, self._subject, entry.principal)
        meant = (bundle.pointer.payload_digest, pointer.sequence, pointer.digest, place)
        if told != (*meant, pointer.admin) or entry.subject != (
            f"models/{pointer.model}/aliases/{pointer.alias}"
        ):
            raise Refusal(Reason.POINTER_INVALID, f"entry {entry.index} tells of another pointer")

    def _logged(self, event: str, name: str, envelope: Envelope, move: Entry) -> Entry:
        """The entry of a document that a move rests on, which came before it."""
        for entry in self._excerpt.of(event):
            if entry.body[name] == envelope.payload_digest and entry.index < move.index:
                return entry
        raise Refusal(Reason.POINTER_INVALID, f"no {event} before the move, for {name}")
