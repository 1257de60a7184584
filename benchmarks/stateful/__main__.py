"""Query attacks and extraction against what watches sessions, and honest sessions beside them.

Searches may ask 5,000 times, under 1, 5 or 20 accounts in turn, and see what a caller sees where
the policy blocks adversarial rows and gives the class alone for suspect ones. One has succeeded
with the first row within its size that is answered with another class. Beside `block`, which
answers near-duplicates alike, stands `alert`, the default, and no sessions at all. Honest sessions
are of rows that neither model nor detector has seen; those of Fashion-MNIST share no row.

Each part's rows are kept in build/bench/stateful; a part that is there, and was run from as many
rows, is not measured again.
Run: `make bench NAME=stateful`.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Target, finish, show
from benchmarks.screening import subjects
from benchmarks.screening.counts import wilson
from benchmarks.screening.sources import FASHION, unseen_fashion
from benchmarks.stateful.attacking import extraction_row, search_row
from benchmarks.stateful.callers import ALERT, BLOCK, OFF
from benchmarks.stateful.honest import honest_row, kinds
from benchmarks.stateful.searches import SEARCHES
from benchmarks.subjects import Guarded, WatchedModel, load
from gateway.sessions.fingerprints import Fingerprinter

Row = dict[str, Any]
_KEPT = Path("build/bench/stateful")
_ACCOUNTS = (1, 5, 20)
_MOST = {1: 0.05, 5: 0.15}
_FAR = "of 200 searches; it walks in from a row of another class, not away from the row"
_WHY = {
    f"success before a refusal, at most: Fashion-MNIST, HopSkipJump, accounts: {accounts}": _FAR
    for accounts in _MOST
}


@cache
def digits() -> WatchedModel:
    return load("digits", 0.03)


@cache
def fashion() -> WatchedModel:
    """Fashion-MNIST with the plain model of `benchmarks.screening`, and rows that it has not seen.
    Raises FileNotFoundError where there are no data.
    """
    found = subjects.subject(FASHION, subjects.PLAIN, 0)
    (detector,) = found.detectors()
    guarded = Guarded(found.probe, detector, Fingerprinter(b"k" * 32, "fashion"), alike=True)
    x, y = unseen_fashion()
    right = np.flatnonzero(guarded.probe.answers(x[:1000]) == y[:1000])
    return WatchedModel(guarded, x, y, right)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows are searched from, how often a search may ask, and how many honest sessions
    and extractions there are of a kind.
    """

    victims: int
    queries: int
    sessions: int
    extractions: int


Part = tuple[str, Callable[[], Row]]


def parts(sizes: Sizes) -> Iterator[Part]:
    """Each part's name, and what measures it; what is wanted first comes first."""
    for kind in kinds():
        yield _honest("digits", digits, kind.name, sizes)
    for policy in (BLOCK, ALERT, OFF):
        for search in SEARCHES:
            for accounts in _ACCOUNTS if policy == BLOCK else (1, 5):
                yield _searching("digits", digits, 0.2, search, policy, accounts, sizes)
    for kind in kinds():
        yield _honest("Fashion-MNIST", fashion, kind.name, sizes)
    for search in SEARCHES:
        yield _searching("digits", digits, 0.2, search, BLOCK, 5, sizes, False)
    for step in (0.05, 0.1, 0.2):

        def extracting(step: float = step) -> Row:
            return extraction_row(digits().guarded, digits().x, step, sizes.extractions)

        yield f"extraction {step}", extracting
    for accounts in (1, 5):
        for search in SEARCHES:
            yield _searching("Fashion-MNIST", fashion, 0.1, search, BLOCK, accounts, sizes)


def _searching(
    name: str,
    subject: Callable[[], WatchedModel],
    eps: float,
    search: str,
    policy: str,
    accounts: int,
    sizes: Sizes,
    asks_x: bool = True,
) -> Part:
    part = f"{name} {search} {policy} {accounts} {asks_x}"
    settings = (eps, search, policy, accounts, sizes.victims, sizes.queries, asks_x)
    return part, lambda: search_row(name, subject(), *settings)


def _honest(name: str, subject: Callable[[], WatchedModel], kind: str, sizes: Sizes) -> Part:
    def measure() -> Row:
        found = subject()
        (made,) = (each for each in kinds() if each.name == kind)
        return honest_row(name, found.guarded, found.x, found.y, made, sizes.sessions, 1)

    return f"honest {name} {kind}", measure


def _kept(part: str, measure: Callable[[], Row], victims: int) -> Row:
    path = _KEPT / f"{part.replace(' ', '-').replace('%', '')}.json"
    if not path.exists() or _searched(json.loads(path.read_text()), victims) < victims:
        row = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row))
        print(row, flush=True)
    read: Row = json.loads(path.read_text())
    return read


def _searched(row: Row, victims: int) -> int:
    """From how many rows a part of searches was run; any other part is whole as it is."""
    return int(row["searches"]) if "search" in row else victims


def targets(rows: list[Row]) -> list[Target]:
    """Held against the upper end of each share's 95% interval: few searches prove little."""
    found = []
    for row in rows:
        if row.get("policy") == BLOCK and row["accounts"] in _MOST and row["asks_x"]:
            name = (
                f"success before a refusal, at most: {row['search']}, accounts: {row['accounts']}"
            )
            count, most = f"of {row['searches']} searches", _MOST[row["accounts"]]
            found.append(Target(name, row["interval"][1], most).because(count).unless_met(_WHY))
        if "honest" in row:
            sessions = row["sessions"]
            upper = float(wilson(round(row["refused_with_block"] * sessions), sessions)["high"])
            name = f"honest sessions refused, at most: {row['honest']}"
            found.append(Target(name, upper, 0.01).because(f"of {sessions} sessions"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--victims", type=int, default=200)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--extractions", type=int, default=10)
    parser.add_argument("--read", action="store_true", help="only what was measured before")
    parser.add_argument("--queries", type=int, default=5000)
    given = parser.parse_args()
    sizes = Sizes(given.victims, given.queries, given.sessions, given.extractions)
    rows: list[Row] = []
    for name, measure in parts(sizes):
        try:
            if given.read:
                rows.append(_kept(name, partial(_refuse, name), 0))
            else:
                rows.append(_kept(name, measure, given.victims))
        except LookupError:
            continue
    for kind in ("search", "honest", "extraction"):
        if mine := [row for row in rows if kind in row]:
            show(mine)
    finish("stateful", rows, targets(rows))


def _refuse(name: str) -> Row:
    raise LookupError(name)


if __name__ == "__main__":
    main()
