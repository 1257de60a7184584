"""The protocol of promotion, rollback, revocation and freshness as a state machine.

People use a real registry, two engines follow it, and between any two steps an intruder may alter
the database. After each step every answer that an engine would give is held against the oracle.
"""

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.support.oracles.promotion.intruder_rules import IntruderRules
from tests.support.oracles.promotion.people_rules import PeopleRules

STOLEN = (("otto", "arne", "paula"), ("otto", "arne"), ("otto",), ("arne",), ())
"""The people whose keys the intruder has; of them, Arne alone may approve Paula's versions."""
STEPS = 20
"""Of a run, at least, after it has begun."""
_RESTARTED = (*("engine", "other engine") * 3, "new engine", "new engine", "registry")


class PromotionMachine(PeopleRules, IntruderRules):
    """One run; see the module. In one run of five there is no intruder."""

    @initialize(
        state=st.sampled_from((3, 2, 1, 0)),
        stolen=st.sampled_from(STOLEN),
        intruder=st.integers(0, 4),
    )
    def begin_run(self, state, stolen, intruder):
        self.begin(state, frozenset(stolen), intruder != 4)

    @rule(number=st.integers(0, 1))
    def follow(self, number):
        self.look(number)

    @rule(what=st.sampled_from(_RESTARTED))
    def restart(self, what):
        self.events[f"restarted: {what}"] += 1
        first, second = self.bench.engines
        if what == "registry":
            self.attempt("registry opened", lambda: self.organisation.restart(remember=True))
        elif what == "new engine":
            # Another gateway joins, whose engine has seen nothing.
            second.forget()
        else:
            (first if what == "engine" else second).restart()

    @invariant()
    def answers_are_rightful(self):
        self.steps += 1
        for engine in self.bench.engines:
            engine.check()

    def teardown(self):
        # The invariant was checked once a run had begun, too.
        self.events["runs" if self.steps > STEPS else "shorter runs"] += 1
        self.events["steps"] += max(0, self.steps - 1)


def run(number: int, count: int, machine: type[PromotionMachine] = PromotionMachine) -> None:
    """Make `count` runs from a seed. Raises Violation where the protocol does not hold."""
    seeded = seed(number)(type(machine.__name__, (machine,), {}))
    run_state_machine_as_test(
        seeded,
        settings=settings(
            max_examples=count,
            # The first begins the run.
            stateful_step_count=STEPS + 1,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
