"""Attacks and benign changes of rows whose columns have ranges of their own.

An age and an income have no step in common. Where a model's configuration says so, rows are mapped
to 0..1 by each column's range, and attacked and changed there; what is measured are the rows that a
caller would send.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.model.columns import RowRules
from inference.model.config import CLASSES, InputDomain, ModelConfig
from inference.model.decisions import Decision
from inference.runtime import response_contract
from inference.screening.gradient_attacks import AttackSession, Labels, Rows
from publishing.attacks.parted_rows import PartedSession
from publishing.attacks.probe import Answers, Floats, Probe

_UNIT = InputDomain(0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class UnitRows:
    """Maps rows [n, D] to 0..1 and back, by ranges that begin at `low` and are `span` wide."""

    low: npt.NDArray[np.float64]
    span: npt.NDArray[np.float64]

    @classmethod
    def of(cls, rules: RowRules) -> "UnitRows":
        return cls(rules.low, rules.span)

    def of_rows(self, x: Rows) -> Rows:
        return np.asarray((x - self.low) / self.span, np.float32)

    def to_rows(self, u: Rows) -> Rows:
        return np.asarray(self.low + u * self.span, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _UnitSession:
    """A response graph that is asked about rows in 0..1."""

    session: AttackSession
    units: UnitRows

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, npt.NDArray[Any]]
    ) -> list[npt.NDArray[Any]]:
        rows = self.units.to_rows(input_feed[response_contract.X])
        names = tuple(output_names or response_contract.OUTPUTS)
        found = self.session.run(names, {**input_feed, response_contract.X: rows})
        return [self._in_units(name, value) for name, value in zip(names, found, strict=True)]

    def _in_units(self, name: str, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if name == response_contract.X_ADV:
            return self.units.of_rows(value)
        return value * self.units.span if name == response_contract.GRADIENT else value


@dataclass(frozen=True, slots=True, eq=False)
class RelativeProbe:
    """A prober of rows as callers send them, which attacks them in shares of their ranges. `plain`
    is asked about rows as they are, `probe` about rows in 0..1.
    """

    plain: Probe
    probe: Probe
    units: UnitRows
    rules: RowRules

    @classmethod
    def of(
        cls,
        session: AttackSession,
        eps: float,
        rules: RowRules,
        decision: Decision = CLASSES,
    ) -> "RelativeProbe":
        units, session = UnitRows.of(rules), PartedSession(session)
        probe = Probe(_UnitSession(session, units), eps, _UNIT, rules.in_units(), decision=decision)
        return cls(Probe(session, eps, _UNIT, decision=decision), probe, units, rules)

    def measure(self, x: Rows) -> tuple[Floats, Floats]:
        """Return logits [n, C] and features [n, F] of rows x."""
        return self.plain.measure(x)

    def answers(self, x: Rows) -> Labels:
        """Return the model's own classes [n] of rows x."""
        return self.plain.answers(x)

    def shifts(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Yield the name of each benign change and the rows x under it."""
        for name, moved in self.probe.shifts(self.units.of_rows(x), generator):
            yield name, self.rules.changed(x, self.units.to_rows(moved))

    def attacks(self, x: Rows, generator: np.random.Generator) -> Iterator[tuple[str, Rows]]:
        """Yield the name of each attack and the rows that it made; answers may be unchanged."""
        for name, moved in self.probe.attacks(self.units.of_rows(x), generator):
            yield name, self.rules.within(x, self.units.to_rows(moved))

    def nearest(self, x: Rows, moved: Rows, answers: Answers) -> Rows:
        """Of the rows from x to `moved` the first that are answered otherwise than x."""

        def of_units(u: Rows) -> Labels:
            return answers(self.units.to_rows(u))

        there = self.probe.nearest(self.units.of_rows(x), self.units.of_rows(moved), of_units)
        return self.rules.beyond(x, self.units.to_rows(there))


def number_probe(session: AttackSession, config: ModelConfig) -> Probe | RelativeProbe:
    """The prober of a model of numbers."""
    if config.relative and config.table is not None:
        return RelativeProbe.of(session, config.eps, config.table, config.decision)
    return Probe.of(session, config)
