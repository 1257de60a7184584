"""`make bench NAME=screening`: what gets past screening as it is shipped, by a reviewer's protocol.

A seed cuts a data set in slices that share no row. Thresholds come from calibration rows alone, and
every figure is at the threshold that a version would ship with: refused, refused or suspect, and
*undetected*, the share of all attacked rows that fool the model and are answered. The class that
leaves is the float32 model's also where INT8 answers (`benchmarks.screening.twins`), so that one is
attacked. Intervals are Wilson's, of 95%, over the rows of all seeds. An attack with fewer than 200
successes is not measured. *Best attack* takes for each row any attack that gets past. Known
detectors are calibrated on the same rows to the same bound, and told apart by AUROC, by what they
refuse and by what they find at true rates of false alarms. Attackers know the weights and not the
detector, but the *adaptive* one, who knows all. *Family left out* is our detector without the
attacks of that kind among those that it is fitted to. Honest changes are ones that neither fit nor
calibration saw (`benchmarks.screening.honest_changes`); of a table, later months. A table is
attacked only by what can be sent, and not by the adaptive attacker. Writes results/screening.json
after each seed, of all seeds that results/screening keeps (`benchmarks.screening.findings`).
Models, attacks and what the adaptive attacker found are kept below build/bench/screening.
"""

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from benchmarks.report import commit, earlier, finish, show
from benchmarks.screening import adaptive, baselines
from benchmarks.screening.attacks import ATTACKS, made
from benchmarks.screening.counts import AttackCounts, BestAttacks, Bools, Floats, found_at
from benchmarks.screening.families import SHOWN, attacks_on, family
from benchmarks.screening.findings import AUTO, SeedFindings, kept, row_of
from benchmarks.screening.honest_changes import honest_changes, other_digits
from benchmarks.screening.sources import DIGITS, FASHION, FLIGHTS, DataSet, Rows
from benchmarks.screening.subjects import CACHE, HARDENED, MODELS, ScreenedModel, subject
from benchmarks.screening.targets import OURS, SMALL, UNSEEN, targets_of
from inference.screening.calibration import Calibration
from inference.screening.detector import Detector
from publishing.calibration.detector_fit import calibrate
from publishing.calibration.screening_report import auroc

SEEDS, ADAPTIVE_ROWS = 5, 100
DATA = (DIGITS, FASHION, FLIGHTS)


@dataclass(frozen=True, slots=True)
class Judge:
    """A detector: how it scores rows, its limits, and its scores of the clean test rows."""

    score: baselines.Scorer
    limits: Calibration
    clean: Floats

    @classmethod
    def ours(cls, found: ScreenedModel, detector: Detector) -> Self:
        def score(rows: Rows) -> Floats:
            return detector.scores(found.probe.measure(rows)[1])

        return cls(score, detector.calibration, score(found.slices["test"][0]))

    @classmethod
    def known(cls, found: ScreenedModel, score: baselines.Scorer) -> Self:
        limits = calibrate(score(found.slices["calibration"][0]), {})
        return cls(score, limits, score(found.slices["test"][0]))

    def alarms(self, scores: Floats) -> tuple[Bools, Bools]:
        """Which rows are refused, and which refused or suspect."""
        limits = self.limits
        return scores > limits.adversarial.threshold, scores > limits.suspect.threshold


def measured(source: DataSet, model: str, seed: int) -> SeedFindings:
    """The findings of one seed of a model."""
    # Of the code that runs, whatever is checked out when it ends.
    told = SeedFindings(commit())
    found = subject(source, model, seed)
    told.right = [len(found.right[0]), len(found.slices["test"][0])]
    detector, *others = found.detectors(tuple(SHOWN.values()))
    judges = {OURS: Judge.ours(found, detector), **_known(found)}
    for name, judge in judges.items():
        _alarm(told.clean[name], judge, judge.clean)
    for name, moved in _changed(found):
        _alarm(told.changes[name], judges[OURS], judges[OURS].score(moved))
    unseen = {name: Judge.ours(found, other) for name, other in zip(SHOWN, others, strict=True)}
    _attacked(told, found, judges, unseen)
    if source.image:
        for size in sorted({SMALL, max(SMALL, source.eps)}):
            least, beyond = _adapted(found, detector, size)
            turned, past = int(np.isfinite(least).sum()), int((beyond <= 0).sum())
            told.adaptive[f"{size:g}"] = [turned, past, len(least)]
    return told


def _attacked(
    told: SeedFindings, found: ScreenedModel, judges: dict[str, Judge], unseen: dict[str, Judge]
) -> None:
    best = BestAttacks(len(found.right[0]))
    for attack in attacks_on(found):
        before, after, y = made(found, attack)
        turned = found.probe.answers(after) != y
        kind, cell = family(attack.name), told.attacks[attack.name]
        left_out = {UNSEEN: unseen[kind]} if kind in unseen else {}
        refused, suspect = _counted(cell, judges | left_out, after, turned)
        size = np.abs(after[turned] - before[turned]).max(axis=1, initial=0)
        within = size <= found.source.eps + 1e-6
        cell.near = [int(within.sum()), int(suspect[within].sum())]
        best.add(np.flatnonzero(turned)[~refused], size[~refused], kind)
        if attack.name == AUTO:
            told.auto = [int(turned[:ADAPTIVE_ROWS].sum()), len(turned[:ADAPTIVE_ROWS])]
    for name, rows in best.past.items():
        told.best[name] = [int(rows.sum()), len(rows)]


def _counted(
    cell: AttackCounts, judges: dict[str, Judge], after: Rows, turned: Bools
) -> tuple[Bools, Bools]:
    """Which of the turned rows we refuse, and refuse or suspect."""
    ours = (np.zeros(0, np.bool_), np.zeros(0, np.bool_))
    cell.attacked, cell.successes = len(after), int(turned.sum())
    if not turned.any():
        return ours
    for name, judge in judges.items():
        scores = judge.score(after[turned])
        refused, suspect = judge.alarms(scores)
        cell.refused[name], cell.suspect[name] = int(refused.sum()), int(suspect.sum())
        cell.aurocs[name].append(round(auroc(judge.clean, scores), 6))
        cell.roc[name].append([round(each, 6) for each in found_at(judge.clean, scores)])
        if name == OURS:
            ours = refused, suspect
    return ours


def _changed(found: ScreenedModel) -> Iterator[tuple[str, Rows]]:
    """Honest rows that are not as those of any slice."""
    if found.source.image:
        yield from honest_changes(found.slices["test"][0], found.seed)
        yield from other_digits(found.source)
    yield from found.later.items()


def _alarm(counts: list[int], judge: Judge, scores: Floats) -> None:
    refused, suspect = judge.alarms(scores)
    counts[0] += len(scores)
    counts[1] += int(refused.sum())
    counts[2] += int(suspect.sum())


def _known(found: ScreenedModel) -> dict[str, Judge]:
    """The detectors that one could have used instead."""
    probe, x = found.probe, found.slices["fit"][0]
    own = probe.answers(x)
    attacks = (moved for _, moved in probe.attacks(x, np.random.default_rng(found.seed)))
    harmful = np.concatenate([moved[probe.answers(moved) != own] for moved in attacks])
    scorers = baselines.scorers(found, x, harmful)
    return {name: Judge.known(found, score) for name, score in scorers.items()}


def _adapted(found: ScreenedModel, detector: Detector, size: float) -> Floats:
    """The least score of each row and by how much it exceeds the threshold, [2, n]; kept."""
    x, y = found.right
    x, y = x[:ADAPTIVE_ROWS], y[:ADAPTIVE_ROWS]
    auto = next(attack for attack in ATTACKS if attack.name == AUTO)
    begun = made(found, auto)[1][: len(x)]
    known = found.digest.encode() + detector.encode() + Path(adaptive.__file__).read_bytes()
    short = hashlib.sha256(known + begun.tobytes()).hexdigest()[:16]
    path = CACHE / found.source.name / found.model / str(found.seed) / f"least-{size:g}-{short}.npy"
    if not path.exists():
        walk = adaptive.RESTARTS, adaptive.STEPS, size / found.source.eps, detector.threshold
        least = adaptive.least_scores(found, detector, x, y, *walk, begun)
        np.save(path, np.stack([least, least - detector.threshold]))
    return np.asarray(np.load(path), np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, action="append", help="beside those that are kept")
    parser.add_argument("--only", action="append", help="DATA/MODEL, as digits/plain")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {f"{source.name}/{model}": (source, model) for source in DATA for model in MODELS}
    # Hardening is of images: of a table few columns can be chosen.
    del parts[f"{FLIGHTS.name}/{HARDENED}"]
    chosen = arguments.only or list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"not one of {', '.join(parts)}: {', '.join(sorted(unknown))}")
    rows = {(row["data"], row["model"]): row for row in earlier("screening")}
    for source, model in (parts[name] for name in chosen):
        for seed in arguments.seed or range(SEEDS):
            measured(source, model, seed).keep(source.name, model, seed)
            row = row_of(source.title, model, kept(source.name, model))
            # One of more seeds, of which nothing is kept, says more.
            if row["seeds"] >= rows.get((source.title, model), row)["seeds"]:
                rows[source.title, model] = row
            finish("screening", [*rows.values()], targets_of([*rows.values()]))
        columns = ("attack", "family", "succeeded", "undetected", "refused", "refused or suspect")
        show(rows[source.title, model]["attacks"], columns, f"{source.title}, {model}")


if __name__ == "__main__":
    main()
