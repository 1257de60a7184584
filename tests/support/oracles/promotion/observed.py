"""One engine, and what it must hold to: what it was shown, and every answer that it would give.

The oracle's memory outlives the engine's restarts, as the engine's own file does.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.sync import RegistrySnapshot
from inference.engine import TrustAnchor
from inference.engine.engine import Engine, UpdateResult
from inference.engine.trust_state import RollbackGuardFile
from inference.engine.version_verifier import FileSource, VerifiedPointer, read_files
from sealgate.reasons import SealgateError
from sealgate.trust.times import parse_time
from tests.support.oracles.promotion.documents import Documents, Place, names_when_revoked
from tests.support.oracles.promotion.organisation import KNOWN_ROOTS, Organisation
from tests.support.oracles.promotion.rulebook import THRESHOLD, Rulebook

ALIASES = ("production", "canary", "shadow")
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Violation(AssertionError):
    """An engine did what the protocol forbids."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version whose bytes were read and checked, and that nothing runs."""

    digest: str
    files: Mapping[str, bytes]

    def close(self, _timeout: float | None = None) -> bool:
        return True


class ReadingLoader:
    """Reads and checks a version's files as every loader must, and makes no graphs of them."""

    def load(self, cleared: VerifiedPointer, source: FileSource, loaded: Any) -> Any:
        return loaded or Loaded(cleared.pointer.digest, read_files(cleared.manifest, source))


@dataclass(slots=True)
class Shown:
    """The documents that an engine has been shown and has believed, over all its restarts.

    `ends` says until when each pointer may answer at a place, by the statements that named it.
    """

    revoked: set[str] = field(default_factory=set)
    ends: dict[tuple[Place, str], datetime] = field(default_factory=dict)
    answered: dict[Place, tuple[int, str]] = field(default_factory=dict)
    freshness: int = 0
    policy: int = 0
    floor: datetime = _LONG_AGO


class ObservedEngine:
    """An engine with its memory in `seen`, and the oracle that watches it."""

    def __init__(self, seen: Path, organisation: Organisation, events: Counter[str]) -> None:
        self._seen = seen
        self._organisation = organisation
        self._events = events
        self._shown = Shown()
        self.engine = self._open()

    def _open(self) -> Engine:
        anchor = TrustAnchor(KNOWN_ROOTS, THRESHOLD)
        seen = RollbackGuardFile.open(self._seen)
        return Engine(anchor, seen, self._organisation.clock, ReadingLoader())

    @property
    def _documents(self) -> Documents:
        return self._organisation.documents

    @property
    def now(self) -> datetime:
        """No earlier than any signed time that the engine has believed."""
        return max(self._organisation.now, self._shown.floor)

    def forget(self) -> None:
        """Begin a run: an engine that has seen nothing."""
        self._seen.unlink(missing_ok=True)
        self._shown = Shown()
        self.engine = self._open()

    def restart(self) -> None:
        """The process ends, and another begins with the same memory."""
        self.engine.close(0)
        self.engine = self._open()

    def show(self, handover: RegistrySnapshot) -> UpdateResult:
        """Show the engine a state, and hold what it believed of it against what was signed."""
        before = {place: live.until for place, live in self.engine.live().items()}
        update = self.engine.update(handover, handover)
        policy = self.engine.policy
        if policy is not None:
            self._check_policy(policy.digest)
        if update.refused is not None:
            self._events[f"update refused: {update.refused.reason.name}"] += 1
            return update
        self._events["update believed"] += 1
        for rejected in update.rejected:
            self._events[f"pointer rejected: {rejected.reason.name}"] += 1
        self._check_statement(handover)
        named = json.loads(handover.freshness.payload)["pointers"]
        for place, live in self.engine.live().items():
            anew = live.until > before.get(place, 0.0) or "/".join(place) in named
            if anew and live.policy != self.engine.policy.digest:
                raise Violation(f"{place} goes on under an older policy")
        for place in update.loaded:
            self._events[f"loaded: {place[1]}"] += 1
        return update

    def check(self) -> None:
        """Look at all that the engine would answer now."""
        for place in {*self.engine.live(), *(("digits", alias) for alias in ALIASES)}:
            try:
                live = self.engine.resolve(place[0], None, place[1])
            except SealgateError as refusal:
                if place == ("digits", "production"):
                    self._events[f"production refused: {refusal.reason.name}"] += 1
                continue
            self._check_answer(place, live)
            if place == ("digits", "production"):
                self._events["production answered"] += 1

    def _check_answer(self, place: Place, live: Any) -> None:
        objection = self._documents.objection(live.pointer, place, live.policy)
        if objection:
            raise Violation(f"{place} answers: {objection}")
        pointer: Any = self._documents.statements[live.pointer]
        claimed = (live.version, live.digest, live.sequence)
        if claimed != (pointer.version, pointer.digest, pointer.sequence):
            raise Violation(f"{place} answers with what its pointer does not say")
        if live.ready.files != self._documents.published[live.model, live.version].files:
            raise Violation(f"{place} answers with other bytes than were published")
        if names_when_revoked(live.model, live.digest) & self._shown.revoked:
            raise Violation(f"{place} answers with a version that was shown as revoked")
        end = self._shown.ends.get((place, live.pointer))
        if end is None or self.now >= end:
            raise Violation(f"{place} answers at {self.now}, covered until {end}")
        if self.now >= self._documents.policies[self.engine.policy.digest].end:
            raise Violation(f"{place} answers after the policy's end")
        self._check_forward(place, (live.sequence, live.pointer))

    def _check_forward(self, place: Place, found: tuple[int, str]) -> None:
        before = self._shown.answered.get(place)
        if before is not None and found != before and found[0] <= before[0]:
            raise Violation(f"{place} went back from {before} to {found}")
        if before is not None and found[0] > before[0]:
            pointer: Any = self._documents.statements[found[1]]
            self._events[f"{place[1]} moved: {pointer.action}"] += 1
        self._shown.answered[place] = found

    def _check_policy(self, digest: str) -> None:
        rulebook = self._documents.policies.get(digest)
        if rulebook is None:
            raise Violation("the engine follows a policy that the roots did not sign")
        if rulebook.version < self._shown.policy:
            raise Violation(f"policy {rulebook.version} after {self._shown.policy}")
        self._shown.policy = rulebook.version
        self._shown.floor = max(self._shown.floor, rulebook.issued)

    def _check_statement(self, handover: RegistrySnapshot) -> None:
        """Hold a statement of freshness that was believed against the rules."""
        statement = json.loads(handover.freshness.payload)
        rulebook: Rulebook = self._documents.policies[self.engine.policy.digest]
        # Of the registry's own statements the oracle knows nothing; those are by the service. A
        # stranger may have signed the very same payload.
        signer = self._documents.keys.get(handover.freshness.encode(), "fresh")
        if signer not in rulebook.keys_of("fresh", "freshness"):
            raise Violation("the statement is not the freshness service's")
        issued, expires = parse_time(statement["issued"]), parse_time(statement["expires"])
        if expires - issued > timedelta(seconds=rulebook.freshness_seconds):
            raise Violation("the statement lives too long")
        if self.now >= expires or self.now >= rulebook.end:
            raise Violation(f"believed at {self.now}: a statement that ended at {expires}")
        if statement["sequence"] < self._shown.freshness:
            raise Violation("the statement is older than one that was shown before")
        self._shown.freshness = statement["sequence"]
        self._shown.floor = max(self._shown.floor, issued)
        self._shown.revoked |= set(statement["revoked"])
        end = expires + timedelta(seconds=rulebook.grace_seconds)
        for name, item in statement["pointers"].items():
            model, _, alias = name.partition("/")
            key = ((model, alias), item["digest"])
            self._shown.ends[key] = max(end, self._shown.ends.get(key, end))
