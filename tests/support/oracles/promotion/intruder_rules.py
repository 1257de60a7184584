"""The intruder's steps between those of others."""

import json
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from sealgate.reasons import SealgateError
from tests.support.builders.documents.people import sign_policy
from tests.support.oracles.promotion.alterations import TABLES, TRIGGERS
from tests.support.oracles.promotion.forgeries import FORMS, FRESHNESS_FORMS
from tests.support.oracles.promotion.run import PRODUCTION, Run

picks = st.integers(0, 63)
engines = st.integers(0, 1)
UNCHANGED = "unchanged"
_NAMES = (
    ("pointers", "alias", "production"),
    ("pointers", "alias", "canary"),
    ("pointers", "model", "digits"),
    ("pointers", "version", 1),
    ("pointers", "sequence", 9),
    ("versions", "version", 2),
    ("versions", "model", "letters"),
    ("proposals", "alias", "production"),
    ("approvals", "principal", "abel"),
    ("freshness", "sequence", 1),
)
_DATABASE = (
    "copy",
    "copy",
    "put back",
    "put back",
    "truncate",
    "trigger",
    "swap file",
    "drop policy",
    "forge policy",
)


def intruding(**strategies):
    """A rule of runs that have an intruder."""
    return lambda function: precondition(lambda self: self.intruder)(rule(**strategies)(function))


class IntruderRules(Run):
    """Rules of whoever has the database, the files and stolen keys."""

    @intruding(
        how=st.sampled_from(("delete", "exchange", "exchange", "rename", "replay")),
        table=st.sampled_from(TABLES),
        name=st.sampled_from(_NAMES),
        one=picks,
        other=picks,
    )
    def alter_rows(self, how, table, name, one, other):
        alterations = self._alter(how)
        if how == "delete":
            alterations.delete(table, one)
        elif how == "exchange":
            alterations.exchange(table, one + other, one, other)
        elif how == "rename":
            alterations.rename(*name, one)
        else:
            alterations.replay(table, one)

    @intruding(how=st.sampled_from(_DATABASE), pick=picks, other=picks)
    def alter_database(self, how, pick, other):
        if how == "copy":
            self.bench.alterations.copy()
            return
        alterations = self._alter(how)
        if how == "truncate":
            alterations.truncate_log(1 + pick % 6)
        elif how == "trigger":
            alterations.set_trigger(sorted(TRIGGERS)[pick % len(TRIGGERS)])
        elif how == "swap file":
            alterations.swap_file(pick, other)
        elif how == "drop policy":
            alterations.drop_policies(self.organisation.rulebook.version)
        elif how == "forge policy":
            self._forge_policy(pick)
        elif alterations.put_back(pick) and other % 2:
            # An operator who believes that the disk failed opens it as it is.
            self.attempt("registry reopened", lambda: self.organisation.restart(remember=False))

    @intruding(form=st.sampled_from(sorted(FORMS)), pick=picks, number=engines)
    def forge_pointer(self, form, pick, number):
        """A forged pointer, declared fresh with the stolen key, and shown to an engine; one in four
        in production's place.
        """
        self._forge(form, pick, pick % 4 == 3, "plain", number)

    @intruding(
        form=st.sampled_from(sorted(FORMS)),
        pick=picks,
        other=st.booleans(),
        statement=st.sampled_from((*FRESHNESS_FORMS, UNCHANGED)),
        number=engines,
    )
    def forge_state(self, form, pick, other, statement, number):
        """The same under a statement of any form, or under the one that there is."""
        self._forge(form, pick, other, statement, number)

    def _forge(self, form, pick, other, statement, number):
        sequence = self.organisation.newest(PRODUCTION)
        bundle = self.forgeries.bundle(form, pick, sequence, self.organisation.now)
        if bundle is None:
            return
        pointer = json.loads(bundle.pointer.payload)
        place = PRODUCTION if other else (pointer["model"], pointer["alias"])
        self._alter(f"forge: {form}").point(bundle, place)
        if statement != UNCHANGED:
            self._declare_fresh(statement)
        self._show(number)

    @intruding(statement=st.sampled_from(FRESHNESS_FORMS), number=engines)
    def declare_fresh(self, statement, number):
        """A forged statement of what the tables hold, shown to an engine."""
        self._alter(f"freshness: {statement}")
        self._declare_fresh(statement)
        self._show(number)

    @intruding(number=engines)
    def show_database(self, number):
        """The registry's process is the intruder's too: the engine is shown the bare tables."""
        self._alter("bare tables")
        self._show(number)

    def _forge_policy(self, pick):
        """A laxer policy, by one root or by keys of nobody."""
        newest = self.organisation.rulebook
        lax = replace(newest, version=newest.version + 1, approvals={"production": 1, "canary": 1})
        forged = sign_policy(lax.policy, *(("root-0",) if pick % 2 else ("stranger", "otto")))
        self.bench.alterations.put_policy(lax.version, lax.digest, forged.encode())

    def _alter(self, name):
        self.altered = True
        self.events[f"intruder: {name}"] += 1
        return self.bench.alterations

    def _show(self, number):
        handover = self.attempt("tables shown", self.bench.database_shows)
        if handover is not None:
            self.attempt("look", lambda: self.bench.engines[number].show(handover))

    def _declare_fresh(self, form):
        found = self.bench.newest_state()
        if found is None:
            return
        try:
            made = self.forgeries.freshness(
                form, *found, self.organisation.rulebook, self.organisation.now
            )
        except SealgateError:
            # The tables hold names that no statement can.
            return
        self.bench.alterations.put_freshness(*made)
