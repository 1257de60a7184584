"""`make bench NAME=screening`: what gets past screening as it is shipped, by a reviewer's protocol.

A seed cuts a data set in slices that share no row. Thresholds come from calibration rows alone, and
every figure is at the threshold that a version would ship with: refused, refused or suspect, and
*undetected*, the share of all attacked rows that fool the model and are answered. Intervals are
Wilson's, of 95%, over the rows of all seeds. An attack with fewer than 200 successes is not
measured. *Best attack* takes for each row any attack that gets past. Known detectors are calibrated
on the same rows to the same bound, and told apart by AUROC and by what they refuse. Attackers know
the weights and not the detector, but the *adaptive* one, who knows all. *Family left out* is our
detector without the attacks of that kind among those that it is fitted to. Honest changes are ones
that neither fit nor calibration saw (`benchmarks.screening.honest_changes`). Writes
results/screening.json after each seed; models and attacks are kept below build/bench/screening.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.report import Row, Target, earlier, finish, show
from benchmarks.screening import baselines, toolbox
from benchmarks.screening.adaptive import RESTARTS, STEPS, least_scores
from benchmarks.screening.attacks import ATTACKS, SOME, Attack, made
from benchmarks.screening.honest_changes import OTHERS, honest_changes, other_writers
from benchmarks.screening.sources import DIGITS, FASHION, DataSet, Labels, Rows
from benchmarks.screening.subjects import HARDENED, MODELS, PLAIN, ScreenedModel, subject
from inference.screening.calibration import Calibration
from inference.screening.detector import Detector
from publishing.calibration.detector_fit import calibrate
from publishing.calibration.screening_report import auroc

OURS, BEST = "ours", "best attack"
GEOMETRIC = "geometric"
LEAST = 200
"""A cell with fewer successes is not measured."""
SMALL, ADAPTIVE_ROWS = 0.1, 100
_Z = 1.959964
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def _toolbox(name: str, make: Any, rows: int = 500) -> Attack:
    return Attack(name, "bounded", "pgd", make, rows, images_only=True)


MORE = (
    _toolbox("masked PGD, half size", lambda s, x, y: _masked(s, x, y, 0.5)),
    _toolbox("masked PGD", lambda s, x, y: _masked(s, x, y, 1.0)),
    _toolbox("EAD", lambda s, x, y: toolbox.elastic_net(s.module, x, y), SOME * 2),
    _toolbox("JSMA, a tenth", lambda s, x, y: toolbox.saliency_map(s.module, x, 0.1), SOME * 2),
    _toolbox("rotation or shift", lambda s, x, y: toolbox.turned_images(s.module, x, y)),
)
_FAMILIES = {
    "L2/L1": ("PGD-L2 2.0", "DeepFool", "CW, κ = 0", "CW, κ = 5", "EAD"),
    "L0": ("JSMA, a tenth",),
    "masked": ("masked PGD, half size", "masked PGD"),
    GEOMETRIC: ("rotation or shift",),
}
_SLOW = ("HopSkipJump",)
# What publishing's own attacks are called, by family.
_SHOWN = {"L2/L1": "l2", "L0": "sparse", "masked": "masked"}
UNSEEN = "ours, family left out"
DATA = (DIGITS, FASHION)


def _masked(subject: ScreenedModel, x: Rows, y: Labels, size: float) -> Rows:
    return toolbox.masked(subject.module, x, y, size * subject.source.eps)


def family(attack: str) -> str:
    return next((name for name, those in _FAMILIES.items() if attack in those), "L∞")


def wilson(hits: int, of: int) -> dict[str, float]:
    """A share with its 95% interval (Wilson's score)."""
    if not of:
        return {"mean": 0.0, "low": 0.0, "high": 1.0, "of": 0}
    share, z = hits / of, _Z
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    off = z * np.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    low, high = max(0.0, middle - off), min(1.0, middle + off)
    return {"mean": round(share, 4), "low": round(low, 4), "high": round(high, 4), "of": of}


@dataclass(slots=True)
class AttackCounts:
    """An attack's rows over all seeds, and by detector how the successful ones were judged."""

    attacked: int = 0
    successes: int = 0
    refused: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    suspect: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    aurocs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def row(self, attack: str) -> Row:
        found: Row = {"attack": attack, "family": family(attack), "attacked": self.attacked}
        found["succeeded"] = self.successes
        if self.successes < LEAST:
            return found | {"measured": "not measured"}
        of, refused = self.successes, self.refused[OURS]
        return found | {
            "undetected": wilson(of - refused, self.attacked),
            "refused": wilson(refused, of),
            "refused or suspect": wilson(self.suspect[OURS], of),
            "auroc": {n: round(float(np.mean(each)), 4) for n, each in self.aurocs.items()},
            "refused by": {n: round(hits / of, 4) for n, hits in self.refused.items()},
            "refused or suspect by": {n: round(hits / of, 4) for n, hits in self.suspect.items()},
        }


class ModelFindings:
    """What all seeds of one model tell together."""

    def __init__(self, source: DataSet, model: str) -> None:
        self.source, self.model = source, model
        self.cells: dict[str, AttackCounts] = defaultdict(AttackCounts)
        self.alarms: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.changes: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self._past: list[Bools] = []
        self._crafted: list[Bools] = []
        self._near: list[Bools] = []
        self._least: list[Floats] = []

    def add(self, seed: int) -> None:
        found = subject(self.source, self.model, seed)
        detector, *others = found.detectors(tuple(_SHOWN.values()))
        scorers = _scorers(found, detector)
        limits = {name: _limits(found, score) for name, score in scorers.items() if name != OURS}
        unseen = dict(zip(_SHOWN, others, strict=True))
        limits[OURS] = detector.calibration
        test = found.slices["test"][0]
        clean = {name: score(test) for name, score in scorers.items()}
        for name, scores in clean.items():
            _alarm(self.alarms[name], scores, limits[name])
        if self.source.image:
            for name, moved in honest_changes(test, seed):
                _alarm(self.changes[name], scorers[OURS](moved), limits[OURS])
            for name, moved in other_writers(self.source):
                _alarm(self.changes[name], scorers[OURS](moved), limits[OURS])
        past, crafted, near = np.zeros((3, len(found.right[0])), np.bool_)
        for attack in _attacks(found):
            before, after, y = made(found, attack)
            turned = found.probe.answers(after) != y
            cell = self.cells[attack.name]
            cell.attacked += len(before)
            cell.successes += int(turned.sum())
            judges = dict(scorers)
            left_out = unseen.get(family(attack.name))
            if left_out is not None:
                judges[UNSEEN] = _scorer(found, left_out)
                limits[UNSEEN], clean[UNSEEN] = left_out.calibration, judges[UNSEEN](test)
            for name, score in judges.items():
                scores = score(after[turned]) if turned.any() else np.zeros(0)
                cell.refused[name] += int((scores > limits[name].adversarial.threshold).sum())
                cell.suspect[name] += int((scores > limits[name].suspect.threshold).sum())
                if len(scores):
                    cell.aurocs[name].append(auroc(clean[name], scores))
                if name == OURS:
                    places = np.flatnonzero(turned)
                    let = ~(scores > limits[name].adversarial.threshold)
                    past[places] |= let
                    if family(attack.name) != GEOMETRIC:
                        crafted[places] |= let
                    moved = np.abs(after[turned] - before[turned]).max(axis=1)
                    near[places] |= let & (moved <= SMALL + 1e-6)
        self._past.append(past)
        self._crafted.append(crafted)
        self._near.append(near)
        least = least_scores(
            found,
            detector,
            found.right[0][:ADAPTIVE_ROWS],
            found.right[1][:ADAPTIVE_ROWS],
            RESTARTS,
            STEPS,
            SMALL / self.source.eps,
        )
        self._least.append(np.stack([least, least - detector.threshold]))

    def row(self) -> Row:
        past, crafted, near = (
            np.concatenate(each) for each in (self._past, self._crafted, self._near)
        )
        least, beyond = np.concatenate(self._least, axis=1)
        adaptive = {
            "fools": wilson(int(np.isfinite(least).sum()), len(least)),
            "undetected": wilson(int((beyond <= 0).sum()), len(least)),
        }
        return {
            "data": self.source.title,
            "model": self.model,
            "seeds": len(self._past),
            "clean refused": {n: wilson(c[1], c[0]) for n, c in self.alarms.items()},
            "clean suspect": {n: wilson(c[2], c[0]) for n, c in self.alarms.items()},
            "honest changes refused": {n: wilson(c[1], c[0]) for n, c in self.changes.items()},
            "honest changes suspect": {n: wilson(c[2], c[0]) for n, c in self.changes.items()},
            "undetected, best attack": wilson(int(past.sum()), len(past)),
            "undetected, best attack but geometric": wilson(int(crafted.sum()), len(crafted)),
            f"undetected, best attack within {SMALL:g}": wilson(int(near.sum()), len(near)),
            f"adaptive within {SMALL:g}": adaptive,
            "attacks": [cell.row(name) for name, cell in self.cells.items()],
        }


def _alarm(counts: list[int], scores: Floats, limits: Calibration) -> None:
    counts[0] += len(scores)
    counts[1] += int((scores > limits.adversarial.threshold).sum())
    counts[2] += int((scores > limits.suspect.threshold).sum())


def _scorer(found: ScreenedModel, detector: Detector) -> baselines.Scorer:
    return lambda rows: detector.scores(found.probe.measure(rows)[1])


def _scorers(found: ScreenedModel, detector: Detector) -> dict[str, baselines.Scorer]:
    probe, x = found.probe, found.slices["fit"][0]
    own = probe.answers(x)
    attacks = (moved for _, moved in probe.attacks(x, np.random.default_rng(found.seed)))
    harmful = np.concatenate([moved[probe.answers(moved) != own] for moved in attacks])
    known = baselines.scorers(found, x, harmful)
    return {OURS: _scorer(found, detector), **known}


def _limits(found: ScreenedModel, score: baselines.Scorer) -> Calibration:
    return calibrate(score(found.slices["calibration"][0]), {})


def _attacks(found: ScreenedModel) -> Iterator[Attack]:
    for attack in (*ATTACKS, *MORE):
        if attack.name not in _SLOW and (found.source.image or not attack.images_only):
            yield attack


def targets_of(rows: Sequence[Row]) -> list[Target]:
    found = []
    for row in rows:
        if row["model"] == PLAIN:
            found += list(_plain(row))
        title = f"{row['data']}, {row['model']}"
        refused = row["clean refused"][OURS]["mean"]
        found.append(Target(f"{title}: clean rows refused", refused, 0.01))
        for name, share in row["honest changes refused"].items():
            most = 0.05 if name == OTHERS else 0.02
            found.append(Target(f"{title}, {name}: refused", share["mean"], most))
        if row["model"] == HARDENED:
            share = row[f"adaptive within {SMALL:g}"]["undetected"]["mean"]
            most = 0.15 if row["data"] == DIGITS.title else 0.2
            found.append(Target(f"{title}: adaptive, undetected within .1", share, most))
    return found


def _plain(row: Row) -> Iterator[Target]:
    """Means over the attacks of each family that are measured."""
    headline = row[f"undetected, best attack within {SMALL:g}"]["mean"]
    yield Target(f"{row['data']}, plain: undetected, best attack within .1", headline, 0.05)
    bounds = {"L∞": (0.8, 0.97), "L2/L1": (0.45, 0.85), "L0": (0.25, 0.75), "masked": (0.25, 0.75)}
    for name, (refused, suspect) in bounds.items():
        cells = [each for each in row["attacks"] if each["family"] == name and "refused" in each]
        if not cells:
            continue
        for what, least in (("refused", refused), ("refused or suspect", suspect)):
            value = float(np.mean([each[what]["mean"] for each in cells]))
            yield Target(f"{row['data']}, plain, {name}: {what}", value, least, True)
        ours = 1 - float(np.mean([each["auroc"][OURS] for each in cells]))
        known = [n for n in cells[0]["auroc"] if n not in (OURS, UNSEEN)]
        best = min(1 - float(np.mean([each["auroc"][n] for each in cells])) for n in known)
        title = f"{row['data']}, plain, {name}: 1 - AUROC over that of the best known detector"
        yield Target(title, ours / max(best, 1e-4), 0.8)
        if UNSEEN in cells[0]["auroc"]:
            unseen = 1 - float(np.mean([each["auroc"][UNSEEN] for each in cells]))
            yield Target(f"{title}, family left out", unseen / max(best, 1e-4), 0.8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", action="append", help="DATA/MODEL, as digits/plain")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {f"{source.name}/{model}": (source, model) for source in DATA for model in MODELS}
    chosen = arguments.only or list(parts)
    if unknown := set(chosen) - set(parts):
        parser.error(f"not one of {', '.join(parts)}: {', '.join(sorted(unknown))}")
    rows = {(row["data"], row["model"]): row for row in earlier("screening")}
    for source, model in (parts[name] for name in chosen):
        measured = ModelFindings(source, model)
        for seed in range(arguments.seeds):
            measured.add(seed)
            rows[source.title, model] = measured.row()
            finish("screening", [*rows.values()], targets_of([*rows.values()]))
        columns = ("attack", "family", "succeeded", "undetected", "refused", "refused or suspect")
        show(rows[source.title, model]["attacks"], columns, f"{source.title}, {model}")


if __name__ == "__main__":
    main()
