"""Searches and extractions beside sessions: when one succeeded, and when it was refused."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.screening.counts import wilson
from benchmarks.stateful.callers import SearchRun, run_together
from benchmarks.stateful.searches import SEARCHES, SPARSE
from benchmarks.subjects import Guarded, Rows, WatchedModel
from gateway.sessions.query_attack_detection import CallerSession
from inference.screening import gradient_attacks
from publishing.attacks.query_attacks import jacobian_augmentation

_ROUNDS = 3
_SEEDS = 100


def search_row(
    name: str,
    subject: WatchedModel,
    eps: float,
    search: str,
    policy: str,
    names: int,
    victims: int,
    queries: int,
    asks_x: bool = True,
) -> dict[str, Any]:
    """The results of a search on the first `victims` rows that the model tells right."""
    within = 1.0 if search in SPARSE else eps
    runs = []
    for at in subject.right[:victims]:
        x, y = subject.x[at], int(subject.y[at])
        asking = SEARCHES[search](x, y, eps, np.random.default_rng(int(at)))
        runs.append(SearchRun(asking, x, y, policy, names, within, asks_x))
    run_together(subject.guarded, runs, queries)
    return {
        "search": f"{name}, {search}",
        "policy": policy,
        "accounts": names,
        "asks_x": asks_x,
        "eps": within,
        "queries_at_most": queries,
        **_counted(runs),
    }


def _counted(runs: Sequence[SearchRun]) -> dict[str, Any]:
    count, never = len(runs), math.inf
    won = [run for run in runs if run.succeeded]
    before = [run for run in won if (run.succeeded or 0) < (run.refused or never)]
    interval = wilson(len(before), count)
    return {
        "searches": count,
        "succeeded_before_a_refusal": len(before) / count,
        "interval": [interval["low"], interval["high"]],
        "succeeded_at_all": len(won) / count,
        "median_queries_to_success": _median([run.succeeded for run in won]),
        "alarmed_before_success": sum(
            run.alarmed is not None and run.alarmed < (run.succeeded or never) for run in runs
        )
        / count,
        "median_queries_to_alarm": _median([run.alarmed for run in runs]),
        "median_queries_to_refusal": _median([run.refused for run in runs]),
        "crossed": sum(run.crossed is not None for run in runs) / count,
        "blocked": sum(run.blocked is not None for run in runs) / count,
        "queries": sum(run.asked for run in runs),
    }


def _median(values: Sequence[int | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.median(found)) if found else None


def extraction_row(guarded: Guarded, x: Rows, step: float, number: int) -> dict[str, Any]:
    """`number` times 100 rows of x [n, d] and what is made of them by moves of `step`."""

    def sign(rows: Rows) -> Rows:
        moved = gradient_attacks.fgsm(guarded.probe.session, rows, 1e-3, -9, 9)
        return np.sign(moved - rows).astype(np.float32)

    flagged, anchored, turned = [], [], 0
    for seed in range(number):
        seeds = x[np.random.default_rng(seed).permutation(len(x))[:_SEEDS]]
        rows = np.stack(list(jacobian_augmentation(seeds, step, _ROUNDS, sign)))
        found = list(_shown(guarded, rows))
        flags = [search or extraction for search, extraction, _, _ in found]
        flagged.append(next((n for n, flag in enumerate(flags, 1) if flag), None))
        anchored.append(np.mean([anchor is not None for _, _, anchor, _ in found]))
        turned += sum(each[3] for each in found)
    return {
        "extraction": f"Jacobian augmentation, step {step}",
        "attacks": number,
        "rows_each": _SEEDS << _ROUNDS,
        "flagged": sum(each is not None for each in flagged) / number,
        "median_queries_to_flag": _median(flagged),
        "rows_answered_as_their_anchor": float(np.mean(anchored)),
        "of_another_class": turned / number / (_SEEDS << _ROUNDS),
    }


def _shown(guarded: Guarded, rows: Rows) -> Iterator[tuple[bool, bool, int | None, bool]]:
    session, prints = CallerSession(), guarded.printer.of(rows, 0, 1, guarded.alike)
    for given, (label, _, payoff) in zip(prints, guarded.judge(rows), strict=True):
        yield session.add(given, label, payoff)
