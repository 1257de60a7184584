"""The provenance of one answer: its version, pointer, approvals and evidence.

The numbers are those of the steps of `sealgate.audit.decision`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sealgate.audit.entries import LogExcerpt, ProvedEntry, alias_of
from sealgate.reasons import Reason, SealgateError
from sealgate.signed_version import DETECTOR, open_attached
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import EvidenceRules, Policy
from sealgate.trust.statements import (
    Approval,
    Evidence,
    Manifest,
    Pointer,
    PointerBundle,
    Proposal,
    oms,
    open_statement,
    verify_pointer,
)
from sealgate.trust.times import CLOCK_SKEW, parse_time


class Provenance:
    """The case of one answer, taken step by step: each yields what it found, or raises
    SealgateError.
    """

    def __init__(
        self,
        excerpt: LogExcerpt,
        subject: str,
        digest: str,
        sequence: int,
        at: datetime,
        alias: str = "",
    ) -> None:
        """`alias` is the one that gave the answer, empty where its entry does not say."""
        self._excerpt = excerpt
        self._subject = subject
        self._digest = digest
        self._sequence = sequence
        self._at = at
        self._alias = alias
        self._publisher = ""
        self._moves: list[tuple[ProvedEntry, PointerBundle]] = []

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
            raise SealgateError(Reason.SIGNER_MISMATCH, f"{entry.principal} has no such key")
        self._publisher = entry.principal
        yield f"{entry.principal} signed these files with key {key.keyid}"

    def pointer(self, chain: dict[str, Policy], newest: Policy, now: datetime) -> Iterator[str]:
        # 5.
        moves = [
            entry
            for entry in self._excerpt.of("pointer.moved")
            if entry.body["sequence"] == self._sequence and entry.body["digest"] == self._digest
            if self._alias in ("", alias_of(entry.subject)[1])
        ]
        if not moves:
            of = f" of {self._alias}" if self._alias else ""
            raise SealgateError(
                Reason.POINTER_INVALID, f"no move{of} of that sequence to this version"
            )
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
                    raise SealgateError(Reason.EVIDENCE_MISSING, f"{kind} {digest}")
                item = open_statement(by_digest[digest], Evidence, policy, EvidenceRules.MAKERS)
                if policy.evidence is not None:
                    policy.evidence.check_maker(kind, policy.principal(item.maker).roles)
                if (item.kind, item.version_digest) != (kind, self._digest):
                    raise SealgateError(Reason.EVIDENCE_MISMATCH, f"{kind} {digest}")
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
                raise SealgateError(Reason.POINTER_INVALID, f"the move came later, at {entry.time}")
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
                raise SealgateError(Reason.POINTER_STALE, f"superseded {late:.0f} s before")
            yield f"superseded {late:.1f} s before, within the {longest} s that the policy grants"

    def revocation(self) -> Iterator[str]:
        # 9.
        revoked = self._excerpt.revoked_at(self._subject.split("/")[1], self._digest)
        if revoked and parse_time(revoked) <= self._at:
            raise SealgateError(Reason.VERSION_REVOKED, f"at {revoked}, before the answer")
        yield f"revoked later, at {revoked}" if revoked else "not revoked"

    def judges_rows(self) -> bool:
        return DETECTOR in {file.path for file in self._manifest().files}

    def _registered(self) -> ProvedEntry:
        for entry in self._excerpt.of("version.registered"):
            if (entry.subject, entry.body["digest"]) == (self._subject, self._digest):
                return entry
        raise SealgateError(Reason.VERSION_UNKNOWN, f"no registration of {self._subject} is shown")

    def _manifest(self) -> Manifest:
        entry = self._registered()
        manifest = Manifest.decode(entry.document(str(entry.body["manifest"])))
        if manifest.digest != self._digest:
            raise SealgateError(Reason.DIGEST_MISMATCH, "the manifest is not the version's")
        return manifest

    def _check(self, entry: ProvedEntry, bundle: PointerBundle, pointer: Pointer) -> None:
        place = f"models/{pointer.model}/versions/{pointer.version}"
        told = (entry.body["pointer"], self._sequence, self._digest, self._subject, entry.principal)
        meant = (bundle.pointer.payload_digest, pointer.sequence, pointer.digest, place)
        if told != (*meant, pointer.admin) or entry.subject != (
            f"models/{pointer.model}/aliases/{pointer.alias}"
        ):
            raise SealgateError(
                Reason.POINTER_INVALID, f"entry {entry.index} tells of another pointer"
            )

    def _logged(self, event: str, name: str, envelope: Envelope, move: ProvedEntry) -> ProvedEntry:
        """The entry of a document that a move rests on, which came before it."""
        for entry in self._excerpt.of(event):
            if entry.body[name] == envelope.payload_digest and entry.index < move.index:
                return entry
        raise SealgateError(Reason.POINTER_INVALID, f"no {event} before the move, for {name}")
