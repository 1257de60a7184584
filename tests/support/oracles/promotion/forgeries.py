"""Pointers and statements of freshness that an intruder makes, of what was signed and with stolen
keys.

The intruder knows every document that anybody ever signed, has the online key of the freshness
service, and in some runs one admin's or one approver's key.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Approval, Freshness, Pointer, PointerBundle, Proposal
from sealgate.trust.statements.types import PROMOTE, ROLLBACK
from sealgate.trust.times import format_time
from tests.support.oracles.promotion.documents import Documents
from tests.support.oracles.promotion.rulebook import Rulebook

FRESHNESS_FORMS = (
    "plain",
    "no revocation",
    "too long",
    "expired",
    "future",
    "same number",
    "older",
    "other key",
)


class Forgeries:
    """`stolen` are the names of the people whose keys the intruder has."""

    def __init__(self, documents: Documents, stolen: frozenset[str]) -> None:
        self._documents = documents
        self._stolen = stolen

    def bundle(self, form: str, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """A pointer of one of FORMS for a place whose newest move has that sequence; None where
        what it is made of is missing.
        """
        return FORMS[form](self, pick, sequence, now)

    def assembled(self, digest: str, extra: tuple[Envelope, ...] = ()) -> PointerBundle | None:
        """A pointer that was signed, with the documents that it names as far as there are any."""
        pointer = self._documents.statements[digest]
        assert isinstance(pointer, Pointer)
        envelope = self._documents.envelopes[digest][-1]
        if pointer.action == ROLLBACK:
            if not isinstance(self._documents.statements.get(pointer.returns_to), Pointer):
                return None
            target = self.assembled(pointer.returns_to)
            if target is None or target.returned is not None:
                return None
            return PointerBundle.rollback(envelope, target)
        known = self._documents.envelopes
        if pointer.proposal not in known:
            return None
        approvals = tuple(known[name][-1] for name in pointer.approvals if name in known)
        return PointerBundle(envelope, known[pointer.proposal][-1], (*approvals, *extra))

    def freshness(
        self,
        form: str,
        pointers: tuple[tuple[str, int, str], ...],
        revoked: tuple[str, ...],
        number: int,
        rulebook: Rulebook,
        now: datetime,
    ) -> tuple[int, bytes]:
        """A statement with the stolen online key; its number, and its envelope."""
        life = timedelta(seconds=rulebook.freshness_seconds)
        issued = {"expired": now - life - life, "future": now + timedelta(hours=1)}.get(form, now)
        statement = Freshness(
            sequence=max(1, number + {"same number": 0, "older": -1}.get(form, 1)),
            pointers=pointers,
            revoked=() if form == "no revocation" else revoked,
            issued=format_time(issued),
            expires=format_time(issued + (life * 50 if form == "too long" else life)),
        )
        key = "stranger" if form == "other key" else "fresh"
        return statement.sequence, self._documents.sign(statement, key).encode()

    def replayed(self, pick: int, _sequence: int, _now: datetime) -> PointerBundle | None:
        digest = self._pick(Pointer, pick)
        return self.assembled(digest) if digest else None

    def promoted(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """With the approvals that there are, and one by each stolen approver's key."""
        digest = self._proposal(pick, sequence, now)
        if digest is None:
            return None
        forged = {self._approve(digest, name, name, now) for name in self._stolen - {"otto"}}
        return self._point(digest, self._approvals(digest) | forged, now)

    def moved(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """Approvals of another proposal."""
        digest, other = self._proposal(pick, sequence, now), self._pick(Proposal, pick // 8 + 1)
        if digest is None or other is None:
            return None
        return self._point(digest, self._approvals(other) | self._approvals(digest), now)

    def one_person(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """The approvals of one person, who has signed several times or with several keys."""
        digest = self._proposal(pick, sequence, now)
        if digest is None:
            return None
        if "arne" in self._stolen:
            words = ("Once.", "Once more.", "And again.")
            return self._point(
                digest, {self._approve(digest, "arne", "arne", now, text) for text in words}, now
            )
        by = {name: self._documents.statements[name].author for name in self._approvals(digest)}
        most = max(sorted(by.values()), key=list(by.values()).count, default="")
        return self._point(digest, {name for name in by if by[name] == most}, now)

    def unknown_key(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """Approvals in other people's names."""
        digest = self._proposal(pick, sequence, now)
        if digest is None:
            return None
        keys = ("stranger", "fresh") if pick % 3 else ("guard", "otto")
        forged = {
            self._approve(digest, *pair, now) for pair in zip(("anna", "abel"), keys, strict=True)
        }
        return self._point(digest, forged, now)

    def other_version(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """A pointer to another version than was proposed."""
        digest = self._pick(Proposal, pick)
        versions = list(self._documents.published.values())
        if digest is None:
            return None
        other = versions[pick // 3 % len(versions)]
        changes = {"version": other.version, "digest": other.digest}
        return self._point(digest, self._approvals(digest), now, **changes)

    def next_place(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """A pointer that goes on from the newest move, whatever its proposal follows."""
        digest = self._pick(Proposal, pick)
        if digest is None:
            return None
        return self._point(digest, self._approvals(digest), now, sequence=sequence + 1)

    def returned(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """A rollback to any pointer that was ever signed, promoted or not."""
        target = self._pick(Pointer, pick)
        if target is None:
            return None
        returned = self._documents.statements[target]
        assert isinstance(returned, Pointer)
        newest = list(self._documents.policies)[-1]
        pointer = replace(
            returned,
            action=ROLLBACK,
            sequence=sequence + 1,
            returns_to=target,
            policy=newest,
            admin="otto",
            time=format_time(now),
        )
        return self.assembled(self._sign_pointer(pointer))

    def changed(self, pick: int, sequence: int, now: datetime) -> PointerBundle | None:
        """A signed pointer whose payload was changed under its signatures."""
        found = self.replayed(pick, sequence, now)
        if found is None or found.returned is not None:
            return None
        pointer = Pointer.decode(found.pointer.payload)
        versions = list(self._documents.published.values())
        other = versions[pick // 5 % len(versions)]
        payload = replace(
            pointer, sequence=sequence + 1, version=other.version, digest=other.digest
        ).encode()
        return replace(found, pointer=replace(found.pointer, payload=payload))

    def _proposal(self, pick: int, sequence: int, now: datetime) -> str | None:
        """One that was signed, or with an admin's stolen key one that suits the intruder."""
        if pick % 4 == 0 or "otto" not in self._stolen:
            return self._pick(Proposal, pick // 4)
        versions = list(self._documents.published.values())
        version = versions[pick // 4 % len(versions)]
        proposal = Proposal(
            model=version.model,
            alias="production",
            version=version.version,
            digest=version.digest,
            evidence=(),
            predecessor=sequence,
            policy=list(self._documents.policies)[-1],
            proposer="otto",
            created=format_time(now),
            not_after=format_time(now + timedelta(days=1)),
        )
        return self._documents.sign(proposal, "otto").payload_digest

    def _point(
        self, proposal: str, approvals: set[str], now: datetime, **changes: object
    ) -> PointerBundle | None:
        proposed = self._documents.statements[proposal]
        assert isinstance(proposed, Proposal)
        pointer = Pointer(
            action=PROMOTE,
            model=proposed.model,
            alias=proposed.alias,
            version=proposed.version,
            digest=proposed.digest,
            sequence=proposed.predecessor + 1,
            proposal=proposal,
            approvals=tuple(sorted(approvals)),
            returns_to="",
            policy=proposed.policy,
            admin="otto",
            time=format_time(now),
            reason="It is mine.",
        )
        return self.assembled(self._sign_pointer(replace(pointer, **changes)))

    def _sign_pointer(self, pointer: Pointer) -> str:
        key = "otto" if "otto" in self._stolen else "stranger"
        return self._documents.sign(pointer, key).payload_digest

    def _approve(
        self, proposal: str, person: str, key: str, now: datetime, meaning: str = "Mine."
    ) -> str:
        approval = Approval(proposal, person, meaning, format_time(now))
        return self._documents.sign(approval, key).payload_digest

    def _approvals(self, proposal: str) -> set[str]:
        return set(self._documents.approvals(proposal))

    def _pick(self, kind: type, pick: int) -> str | None:
        found = self._documents.of(kind)
        return found[-1 - pick % len(found)] if found else None


Form = Callable[[Forgeries, int, int, datetime], PointerBundle | None]
FORMS: dict[str, Form] = {
    "replayed": Forgeries.replayed,
    "promoted": Forgeries.promoted,
    "moved approvals": Forgeries.moved,
    "one person": Forgeries.one_person,
    "unknown key": Forgeries.unknown_key,
    "other version": Forgeries.other_version,
    "next place": Forgeries.next_place,
    "returned": Forgeries.returned,
    "changed": Forgeries.changed,
}
