"""Attacks and extractions in watched sessions: when one was flagged, and when it succeeded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.subjects import Guarded, Rows, WatchedModel
from gateway.sessions.query_attacks import CallerSession
from inference.screening import attack
from publishing.calibration.query_attacks import (
    Asking,
    hop_skip_jump,
    jacobian_augmentation,
    square,
)

QUERIES = 1500
# How many honest rows a careful attacker asks between two of their own.
AMONG = 10
_WITHIN = 1e-6


@dataclass(frozen=True, slots=True)
class Manner:
    """How an attacker asks. `among` honest rows come between two of theirs; they ask under `names`
    in turn; `asks_x` says whether the row that they start from is asked at all; each row is moved
    at random by up to `noise`, no further from x than the attack may go. The attack `goes_on` when
    it has been flagged, to see whether it would have succeeded; or it ends there.
    """

    said: str = ""
    among: int = 0
    names: int = 1
    asks_x: bool = True
    noise: float = 0.0
    goes_on: bool = False


PLAIN = Manner(goes_on=True)
CAREFUL = Manner(f", each among {AMONG} honest rows", among=AMONG)
KNOWING = (
    Manner(", never asking x itself", asks_x=False),
    Manner(", noise of 0.05 on each row", noise=0.05),
    Manner(", each among 100 honest rows", among=100),
    Manner(", under ten names in turn", names=10),
    Manner(", under ten names, never asking x", names=10, asks_x=False),
)


@dataclass(slots=True)
class Played:
    """When an attack's session was flagged and when it succeeded, in queries; and whether the
    verdict on the row that succeeded would have held it back.
    """

    flagged: int | None = None
    succeeded: int | None = None
    held: bool = False

    @property
    def in_time(self) -> bool:
        return self.flagged is not None and self.flagged <= (self.succeeded or QUERIES)

    @property
    def earlier(self) -> bool:
        return self.in_time and self.flagged != self.succeeded


@dataclass(slots=True)
class _Caller:
    """Asks a model and shows each row to the sessions, until one of them is flagged."""

    guarded: Guarded
    names: int
    asked: int = 0
    flagged: int | None = None
    sessions: list[CallerSession] = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = [CallerSession() for _ in range(self.names)]

    def ask(self, row: Rows) -> tuple[int, str]:
        """The class and the verdict; after the flag, the class alone."""
        self.asked += 1
        if self.flagged is not None:
            return int(self.guarded.probe.answers(row[None])[0]), ""
        ((label, verdict, payoff),) = self.guarded.judge(row[None])
        (given,) = self.guarded.printer.of(row[None], 0, 1, self.guarded.alike)
        if any(self.sessions[self.asked % self.names].add(given, label, payoff)):
            self.flagged = self.asked
        return label, verdict


def play(
    guarded: Guarded,
    x: Rows,
    label: int,
    eps: float,
    asking: Asking,
    manner: Manner,
    honest: Rows,
    draw: np.random.Generator,
) -> Played:
    """One attack on the row x [d] of class `label`; `honest` [n, d] are rows to ask among."""
    caller, played = _Caller(guarded, manner.names), Played()
    if manner.asks_x:
        caller.ask(x)
    row = next(asking)
    while caller.asked < QUERIES and (manner.goes_on or caller.flagged is None):
        for _ in range(manner.among):
            caller.ask(honest[caller.asked % len(honest)])
        if manner.noise:
            moved = row + draw.uniform(-manner.noise, manner.noise, len(row))
            row = np.clip(np.clip(moved, x - eps, x + eps), 0, 1).astype(np.float32)
        found, verdict = caller.ask(row)
        if found != label and np.abs(row - x).max() <= eps + _WITHIN:
            played.succeeded, played.held = caller.asked, verdict == "adversarial"
            break
        try:
            row = asking.send(found)
        except StopIteration:
            break
    played.flagged = caller.flagged
    return played


def corners(x: Rows, label: int, eps: float, queries: int, draw: np.random.Generator) -> Asking:
    """Goes as far as it may in every element, each time another way: of an attacker who knows what
    is looked for, and asks nothing that is close to what they asked.
    """
    best = x
    for _ in range(queries):
        best = np.clip(x + eps * draw.choice([-1.0, 1.0], len(x)), 0, 1).astype(np.float32)
        if (yield best) != label:
            break
    return best


Maker = Callable[[Rows, int, float, np.random.Generator], Asking]
ATTACKS: dict[str, Maker] = {
    "Square, p = 0.05": lambda x, y, eps, draw: square(x, y, eps, 5000, 0.05, draw),
    "Square, p = 0.8": lambda x, y, eps, draw: square(x, y, eps, 5000, 0.8, draw),
    "HopSkipJump": lambda x, y, eps, draw: hop_skip_jump(x, y, eps, 5000, draw),
    "random corners": lambda x, y, eps, draw: corners(x, y, eps, 5000, draw),
}
PUBLISHED = ("Square, p = 0.05", "Square, p = 0.8", "HopSkipJump")


def attack_rows(
    name: str,
    subject: WatchedModel,
    eps: float,
    attacks: tuple[str, ...],
    victims: int,
    manners: tuple[Manner, ...] = (PLAIN, CAREFUL),
) -> Iterator[dict[str, Any]]:
    """What came of each attack in each manner, on the first `victims` rows that the model tells
    right; the honest rows among them are the others.
    """
    x, y, right = subject.x, subject.y, subject.right
    honest = x[right[victims:]]
    for attacking in attacks:
        for manner in manners:
            if manner.among and not len(honest):
                continue
            draw, make = np.random.default_rng(list(ATTACKS).index(attacking)), ATTACKS[attacking]
            played = []
            for i in right[:victims]:
                asking = make(x[i], int(y[i]), eps, draw)
                played.append(
                    play(subject.guarded, x[i], int(y[i]), eps, asking, manner, honest, draw)
                )
            found = _row(f"{name}, {attacking}{manner.said}", manner, played)
            found |= {"eps": eps, "promised": manner is PLAIN and attacking in PUBLISHED}
            print(found, flush=True)
            yield found


def _row(name: str, manner: Manner, played: list[Played]) -> dict[str, Any]:
    won = [each for each in played if each.succeeded is not None]
    flagged = [each.flagged for each in played if each.flagged is not None]
    count = len(played)
    return {
        "attack": name,
        "attacks": count,
        "flagged": len(flagged) / count,
        "median_queries_to_flag": float(np.median(flagged)) if flagged else None,
        "goes_on_when_flagged": manner.goes_on,
        "succeeded": len(won),
        "succeeded_within_2_queries": sum((each.succeeded or 0) <= 2 for each in won),
        "flagged_before_success": sum(each.in_time for each in played) / count,
        "flagged_a_query_earlier": sum(each.earlier for each in played) / count,
        "of_those_that_succeeded": sum(each.in_time for each in won) / max(len(won), 1),
        "or_held_by_its_verdict": sum(each.in_time or each.held for each in played) / count,
    }


_ROUNDS = 3
_SEEDS = 100


def extraction_row(guarded: Guarded, x: Rows, step: float, number: int) -> dict[str, Any]:
    """`number` times 100 rows of x [n, d] and what is made of them by moves of `step`."""

    def sign(rows: Rows) -> Rows:
        moved = attack.fgsm(guarded.probe.session, rows, 1e-3, -9, 9)
        return np.sign(moved - rows).astype(np.float32)

    either, alone = [], []
    for seed in range(number):
        seeds = x[np.random.default_rng(seed).permutation(len(x))[:_SEEDS]]
        rows = np.stack(list(jacobian_augmentation(seeds, step, _ROUNDS, sign)))
        session, prints = CallerSession(), guarded.printer.of(rows, 0, 1, guarded.alike)
        found = [
            session.add(given, label, payoff)
            for given, (label, _, payoff) in zip(prints, guarded.judge(rows), strict=True)
        ]
        either.append(next((n for n, each in enumerate(found, 1) if any(each)), None))
        alone.append(any(extraction for _, extraction in found))
    caught = [number for number in either if number is not None]
    return {
        "extraction": f"Jacobian augmentation, step {step}",
        "attacks": number,
        "rows_each": len(rows),
        "flagged": len(caught) / number,
        "median_queries_to_flag": float(np.median(caught)) if caught else None,
        "by_distances_alone": sum(alone) / number,
    }
