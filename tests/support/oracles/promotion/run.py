"""The state of one run, which the rules of people and of the intruder share."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from sealgate.reasons import SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Proposal
from sealgate.trust.times import parse_time
from tests.support.oracles.promotion.bench import bench
from tests.support.oracles.promotion.documents import (
    Documents,
    Place,
    Published,
    names_when_revoked,
)
from tests.support.oracles.promotion.forgeries import Forgeries
from tests.support.oracles.promotion.observed import Violation
from tests.support.oracles.promotion.organisation import Organisation

PRODUCTION = ("digits", "production")


class Run(RuleBasedStateMachine):
    """`altered` says whether the intruder has acted, `moved` has each place's newest pointer by the
    registry's word, `proposals` those that it took in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bench = bench()
        self.intruder = False
        self.altered = False
        self.moved: dict[Place, str] = {}
        self.revoked: set[str] = set()
        self.proposals: list[str] = []
        self.stolen: frozenset[str] = frozenset()
        self.steps = 0

    @property
    def events(self) -> Counter[str]:
        return self.bench.events

    @property
    def organisation(self) -> Organisation:
        return self.bench.organisation

    @property
    def documents(self) -> Documents:
        return self.organisation.documents

    def begin(self, state: int, stolen: frozenset[str], intruder: bool) -> None:
        """Begin with a prepared state."""
        self.bench.begin(state)
        self.intruder, self.stolen = intruder, stolen
        self.forgeries = Forgeries(self.documents, stolen)
        self.proposals = self.documents.of(Proposal)
        self.released = False
        for digest, item in self.documents.pointers():
            self.moved[item.model, item.alias] = digest
        if self.moved:
            self.look(0)

    def attempt(self, name: str, action: Callable[[], Any]) -> Any:
        """Do something through the registry; None where it is refused."""
        try:
            found = action()
        except SealgateError as refusal:
            self.events[f"{name} refused: {refusal.reason.name}"] += 1
            return None
        except Violation:
            raise
        except Exception as error:
            if not self.altered:
                raise
            # The tables do not hold what the registry ever writes.
            self.events[f"{name} failed: {type(error).__name__}"] += 1
            return None
        self.events[name] += 1
        return found if found is not None else True

    def look(self, number: int) -> None:
        """A gateway's engine follows the registry."""
        engine = self.bench.engines[number]
        handover = self.attempt("registry shown", self.bench.registry_shows)
        if handover is None:
            return
        update = self.attempt("look", lambda: engine.show(handover))
        if not self.altered:
            self._expect(number, handover.freshness.payload, update)

    def _expect(self, number: int, statement: bytes, update: Any) -> None:
        """Without an intruder, the newest promotion arrives, and nothing else."""
        rulebook, now = self.organisation.rulebook, self.organisation.now
        in_force = now < rulebook.end and now < parse_time(json.loads(statement)["expires"])
        if in_force != (update.refused is None):
            raise Violation(f"an honest state: {update.refused}")
        if not in_force:
            return
        engine = self.bench.engines[number].engine
        for place, digest in self.moved.items():
            pointer: Any = self.documents.statements[digest]
            rightful = not self.documents.objection(digest, place, rulebook.digest)
            rightful &= not names_when_revoked(place[0], pointer.digest) & self.revoked
            try:
                answers = engine.resolve(place[0], None, place[1]).pointer
            except SealgateError:
                answers = ""
            # Where the newest may not answer, an earlier one may while it is covered.
            if (answers == digest) != rightful:
                raise Violation(f"{place} answers {answers}, promoted was {digest}")
        self.events["honest state followed"] += 1

    def check_shown(self, holds: Callable[[Any], bool]) -> None:
        """Asserts that the registry shows the moves that it reported, if it shows anything."""
        snapshot = self.attempt("registry read back", self.organisation.registry.snapshot)
        if snapshot is None:
            return
        if not holds(json.loads(Envelope.decode(snapshot.freshness).payload)):
            raise Violation("the registry shows a state without what it took in")

    def version(self, pick: int) -> Published:
        """One of the versions that were published."""
        versions = list(self.documents.published.values())
        return versions[pick % len(versions)]
