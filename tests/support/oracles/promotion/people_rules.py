"""The steps of the organisation's people, right and wrong ones."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from sealgate.trust.statements.types import PROMOTE
from tests.support.oracles.promotion.documents import names_when_revoked
from tests.support.oracles.promotion.prepared import files
from tests.support.oracles.promotion.rulebook import Rulebook
from tests.support.oracles.promotion.run import Run

# A key, and in whose name it signs.
APPROVERS = {
    "anna": "anna",
    "anna-2": "anna",
    "arne": "arne",
    "abel": "abel",
    "paula": "paula",
    "otto": "otto",
    "stranger": "abel",
}
CHANGES = (
    "stricter",
    "looser",
    "arne leaves",
    "arne is out",
    "arne's key withdrawn",
    "otto's key withdrawn",
    "shorter",
    "ending",
    "renewed",
)
_DAY = timedelta(days=1)

picks = st.integers(0, 63)


class PeopleRules(Run):
    """Rules of publishers, approvers, admins, roots and operators."""

    @rule(
        pick=picks,
        alias=st.sampled_from(("production", "production", "canary", "shadow")),
        share=st.sampled_from((0, 0, 10)),
        proposer=st.sampled_from(("paula", "paula", "otto")),
        short=st.booleans(),
    )
    def propose(self, pick, alias, share, proposer, short):
        version, lasting = self.version(pick), _DAY if short else 7 * _DAY
        self._propose(version, alias, share, proposer, lasting)

    @rule(pick=st.integers(0, 2), key=st.sampled_from(sorted(APPROVERS)), again=st.booleans())
    def approve(self, pick, key, again):
        if self.proposals:
            proposal = self.proposals[-1 - pick % len(self.proposals)]
            self._approve(proposal, key, "Once more." if again else "I have read it.")

    @rule(
        pick=st.integers(0, 2),
        admin=st.sampled_from(("otto", "olga", "paula")),
        careless=st.booleans(),
    )
    def promote(self, pick, admin, careless):
        if self.proposals:
            proposal = self.proposals[-1 - pick % len(self.proposals)]
            approvals = self.documents.approvals(proposal)
            self._promote(proposal, approvals[1:] if careless else approvals, admin)

    @precondition(lambda self: not self.released)
    @rule(pick=picks, canary=st.booleans(), number=st.integers(0, 1))
    def release(self, pick, canary, number):
        """A whole promotion, once a run, as it should be, and an engine that follows it."""
        self.released, alias = True, "canary" if canary else "production"
        proposal = self._propose(self.version(pick), alias, 0, "paula", 7 * _DAY)
        if proposal is None:
            return
        rulebook = self.organisation.rulebook
        people = [key for key in ("anna", "arne", "abel") if key in rulebook.people]
        for key in people[: rulebook.needed(alias, 0)]:
            self._approve(proposal, key, "I have read it.")
        self._promote(proposal, self.documents.approvals(proposal), "olga")
        self.look(number)

    @rule(pick=st.integers(0, 7), admin=st.sampled_from(("otto", "olga", "guard", "abel")))
    def roll_back(self, pick, admin):
        pointers = [d for d, item in self.documents.pointers() if item.action == PROMOTE]
        if pointers:
            target = pointers[pick % len(pointers)]
            moved = self.attempt("rollback", lambda: self.organisation.roll_back(target, admin))
            self._note(moved)

    @rule(pick=picks, admin=st.sampled_from(("otto", "olga", "olga", "guard")))
    def revoke(self, pick, admin):
        version = self.version(pick)
        if self.attempt("revocation", lambda: self.organisation.revoke(version, admin)):
            # Otto may revoke versions of one model; the same bytes elsewhere stay.
            names = names_when_revoked(version.model, version.digest) ^ {version.digest}
            names = names if admin == "otto" else {version.digest}
            self.revoked |= names
            self.check_shown(lambda statement: names <= set(statement["revoked"]))

    @rule(change=st.sampled_from(CHANGES), stands=st.booleans())
    def change_policy(self, change, stands):
        rulebook = self._changed(change, stands)
        if rulebook is not None:
            self.attempt(f"policy: {change}", lambda: self.organisation.accept(rulebook))

    @rule(seconds=st.sampled_from((0, 30, 900, 2000, 3700, 90_000)), renewed=st.booleans())
    def wait(self, seconds, renewed):
        self.organisation.now += timedelta(seconds=seconds)
        if renewed or not seconds:
            self.attempt("renewal", self.organisation.registry.refresh)

    @rule(pick=picks, maker=st.sampled_from(("abel", "guard")), version=st.booleans())
    def add(self, pick, maker, version):
        """A version, once a run, or evidence that comes later."""
        if version and len(self.documents.published) < 6:
            self.attempt("version", lambda: self.organisation.publish("digits", files("five")))
        else:
            self.attempt("evidence", lambda: self.organisation.attach(self.version(pick), maker))

    def _propose(self, version, alias, share, proposer, lasting):
        digest = self.attempt(
            "proposal",
            lambda: self.organisation.propose(version, alias, share, proposer, lasting),
        )
        if digest is not None:
            self.proposals.append(digest)
        return digest

    def _approve(self, proposal, key, meaning):
        approve = self.organisation.approve
        self.attempt("approval", lambda: approve(proposal, APPROVERS[key], key, meaning))

    def _promote(self, proposal, approvals, admin):
        promote = self.organisation.promote
        self._note(self.attempt("promotion", lambda: promote(proposal, approvals, admin)))

    def _note(self, moved):
        if moved is not None:
            pointer: Any = self.documents.statements[moved]
            place = f"{pointer.model}/{pointer.alias}"
            self.moved[pointer.model, pointer.alias] = moved
            self.check_shown(lambda statement: statement["pointers"][place]["digest"] == moved)

    def _changed(self, change: str, stands: bool) -> Rulebook | None:
        """The next rulebook; None where there is nothing to change."""
        now, old = self.organisation.now, self.organisation.rulebook
        new = replace(old, version=old.version + 1, issued=now)
        count = old.approvals["production"]
        if change in ("stricter", "looser"):
            count = min(3, count + 1) if change == "stricter" else max(1, count - 1)
            return replace(new, approvals={**old.approvals, "production": count})
        if change == "shorter":
            return replace(new, freshness_seconds=600, grace_seconds=0)
        if change == "ending":
            return replace(new, expires=now + timedelta(hours=1), grace=600)
        if change == "renewed":
            return replace(new, expires=now + 300 * _DAY, grace=0)
        person = change.split("'")[0].split()[0]
        if person not in old.people:
            return None
        if "withdrawn" not in change:
            return replace(old.without(person, retired=change == "arne leaves"), issued=now)
        kept = tuple(sorted(self.moved.values())) if stands else ()
        mark = (self.organisation.registry.log.size() if kept else 0, kept)
        gone = old.without(person, retired=True)
        return replace(gone, issued=now, withdrawn={**old.withdrawn, person: mark})
