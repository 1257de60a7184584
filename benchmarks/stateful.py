"""Query attacks and extraction against what watches sessions, and honest sessions beside them.

Attackers see labels alone, as `label-only` answers are, and may ask 5,000 times (1,500 for the
slower ones). An attack has succeeded with the first row within its size that gets another class;
it was flagged in time if a session's alarm rang with that row or before. Beside that is said where
the verdict on that very row would have held it back. Honest sessions are drawn from rows that
neither detector nor level has seen. Run: `make bench-stateful`.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.report import Target, write_report
from benchmarks.subjects import Guarded, Rows, Subject, fashion_rows, load
from gateway.sessions.evidence import LEVEL, Session
from gateway.sessions.prints import Printer
from inference.screening import attack
from publishing.query_attacks import Asking, hop_skip_jump, jacobian_augmentation, square

QUERIES = 1500
LENGTH = 80
# How many honest rows a careful attacker asks between two of their own.
AMONG = 10


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


def play(
    guarded: Guarded, x: Rows, label: int, eps: float, asking: Asking, honest: Rows | None = None
) -> Played:
    """One attack in a session of its own, among rows of `honest` where there are some."""
    session, played, asked = Session(), Played(), 0

    def ask(row: Rows) -> tuple[int, str]:
        nonlocal asked
        asked += 1
        ((found, verdict, payoff),) = guarded.judge(row[None])
        (given,) = guarded.printer.of(row[None], 0, 1)
        if any(session.add(given, found, payoff)) and played.flagged is None:
            played.flagged = asked
        return found, verdict

    ask(x)
    row = next(asking)
    while asked < QUERIES:
        if honest is not None:
            for _ in range(AMONG):
                ask(honest[asked % len(honest)])
        found, verdict = ask(row)
        if found != label and float(np.abs(row - x).max()) <= eps + 1e-6:
            played.succeeded, played.held = asked, verdict == "adversarial"
            break
        try:
            row = asking.send(found)
        except StopIteration:
            break
    return played


def attack_row(name: str, played: list[Played]) -> dict[str, Any]:
    won = [each for each in played if each.succeeded is not None]
    flagged = [each.flagged for each in played if each.flagged is not None]
    return {
        "attack": name,
        "attacks": len(played),
        "flagged": len(flagged) / len(played),
        "median_queries_to_flag": float(np.median(flagged)) if flagged else None,
        "succeeded": len(won),
        "succeeded_within_2_queries": sum((each.succeeded or 0) <= 2 for each in won),
        "flagged_before_success": sum(each.in_time for each in played) / len(played),
        "of_those_that_succeeded": sum(each.in_time for each in won) / max(len(won), 1),
        "or_held_by_its_verdict": sum(each.in_time or each.held for each in played) / len(played),
    }


def honest_row(
    name: str, prints: list[Any], judged: list[tuple[int, str, float]], sessions: int, seed: int
) -> dict[str, Any]:
    """Sessions of LENGTH rows each, drawn without repetition."""
    draw = np.random.default_rng(seed)
    searches = extractions = 0
    for _ in range(sessions):
        session = Session()
        order = draw.permutation(len(prints))[:LENGTH]
        found = [session.add(prints[i], judged[i][0], judged[i][2]) for i in order]
        searches += any(search for search, _ in found)
        extractions += any(extraction for _, extraction in found)
    return {
        "honest": name,
        "sessions": sessions,
        "rows_each": LENGTH,
        "searches": searches,
        "extractions": extractions,
        "flagged": (searches + extractions) / sessions,
        "stated_bound": 2 * LENGTH / LEVEL,
    }


def extraction_row(guarded: Guarded, x: Rows, step: float, number: int) -> dict[str, Any]:
    def sign(rows: Rows) -> Rows:
        moved = attack.fgsm(guarded.probe.session, rows, 1e-3, -9, 9)
        return np.sign(moved - rows).astype(np.float32)

    either, alone = [], []
    for seed in range(number):
        seeds = x[np.random.default_rng(seed).permutation(len(x))[:100]]
        rows = np.stack(list(jacobian_augmentation(seeds, step, 3, sign)))
        session, prints = Session(), guarded.printer.of(rows, 0, 1)
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


Maker = Callable[[Rows, int, float, np.random.Generator], Asking]
ATTACKS: dict[str, Maker] = {
    "Square, p = 0.05": lambda x, y, eps, draw: square(x, y, eps, 5000, 0.05, draw),
    "Square, p = 0.8": lambda x, y, eps, draw: square(x, y, eps, 5000, 0.8, draw),
    "HopSkipJump": lambda x, y, eps, draw: hop_skip_jump(x, y, eps, 5000, draw),
}


def attack_rows(
    name: str, subject: Subject, eps: float, attacks: tuple[str, ...], victims: int
) -> Iterator[dict[str, Any]]:
    x, y, right = subject.x, subject.y, subject.right
    for number, attacking in enumerate(attacks):
        for honest in (None, x[right[victims:]]):
            if honest is not None and not len(honest):
                continue
            draw, make = np.random.default_rng(number), ATTACKS[attacking]
            played = [
                play(
                    subject.guarded, x[i], int(y[i]), eps, make(x[i], int(y[i]), eps, draw), honest
                )
                for i in right[:victims]
            ]
            among = "" if honest is None else f", each among {AMONG} honest rows"
            found = attack_row(f"{name}, {attacking}{among}", played) | {"eps": eps}
            print(found, flush=True)
            yield found


def run(victims: int, sessions: int, extractions: int) -> None:
    digits, table = load("digits", 0.03), load("breast-cancer", 0.03)
    rows = list(attack_rows("digits", digits, 0.2, tuple(ATTACKS), victims))
    rows += attack_rows("breast cancer", table, 0.05, ("HopSkipJump",), min(victims, 50))
    for step in (0.05, 0.1, 0.2):
        rows.append(extraction_row(digits.guarded, digits.x, step, extractions))
        print(rows[-1], flush=True)
    honest = honest_sessions(digits, table, sessions)
    write_report("stateful", rows + honest, targets(rows, honest))


def honest_sessions(digits: Subject, table: Subject, sessions: int) -> list[dict[str, Any]]:
    found = []
    for name, subject in (("digits", digits), ("breast cancer", table)):
        prints = subject.guarded.printer.of(subject.x, 0, 1)
        judged = subject.guarded.judge(subject.x)
        found.append(honest_row(name, prints, judged, sessions, 1))
    guarded, x = digits.guarded, digits.x
    for name, moved in guarded.probe.shifts(x, np.random.default_rng(2)):
        prints = guarded.printer.of(moved, 0, 1)
        shifted = honest_row(f"digits, {name}", prints, guarded.judge(moved), sessions // 10, 3)
        found.append(shifted)
    fashion = fashion_rows(5000)
    if fashion is not None:
        prints = Printer(b"k" * 32, "fashion").of(fashion[0], 0, 1)
        # Without a detector: all verdicts clean.
        clean = [(int(label), "clean", 0.0) for label in fashion[1]]
        found.append(honest_row("Fashion-MNIST, no verdicts", prints, clean, sessions // 3, 4))
    for each in found:
        print(each, flush=True)
    return found


def targets(rows: list[dict[str, Any]], honest: list[dict[str, Any]]) -> list[Target]:
    plain = [row for row in rows if "attack" in row and "among" not in row["attack"]]
    found = [
        Target(
            f"flagged before success: {row['attack']}", row["flagged_before_success"], 0.95, True
        ).because(
            f"of all attacks; of the {row['succeeded']} that succeed "
            f"{row['of_those_that_succeeded']:.2f}, {row['succeeded_within_2_queries']} with their "
            "first move, before there is a session to see"
        )
        for row in plain
    ]
    unshifted = [row for row in honest if not row["honest"].startswith("digits, ")]
    found += [
        Target(f"honest sessions flagged: {row['honest']}", row["flagged"], 0.001)
        for row in unshifted
    ]
    for target in found:
        print(target.line())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--victims", type=int, default=100)
    parser.add_argument("--sessions", type=int, default=3000)
    parser.add_argument("--extractions", type=int, default=20)
    given = parser.parse_args()
    run(given.victims, given.sessions, given.extractions)


if __name__ == "__main__":
    main()
