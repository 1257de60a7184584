"""The targets of screening, and the reason for each miss."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.report import Row, Target
from benchmarks.screening.families import NEAREST
from benchmarks.screening.honest_changes import NATURAL, WRITERS
from benchmarks.screening.sources import DIGITS, FLIGHTS
from benchmarks.screening.subjects import HARDENED, PLAIN

OURS, UNSEEN = "ours", "ours, family left out"
SMALL, LEAST = 0.1, 200
"""A cell with fewer successes than `LEAST` is not measured."""
# By family, the least shares that are refused, and refused or suspect.
_BOUNDS = {
    "L∞": (0.8, 0.97),
    "L2/L1": (0.45, 0.85),
    "L0": (0.25, 0.75),
    "masked": (0.25, 0.75),
    "patch": (0.25, 0.75),
}
_STROKES = "no detector is shown changed strokes or bent paper"
_PIXEL = "an eighth of the image; the model gets half of such rows wrong"
_SPARSE = "three of 64 pixels without ink look like a sparse attack"
_SQUARE = "Square's rows, which a kNN ratio tells better, and FGSM's look like noise at the border"
_UNION = "attacks pass with rows of their own, and each row counts whose best attack passes"
_DELAY = "two columns can be sent otherwise, and a changed delay is another flight's"
_AVERAGE = "the bound is met on average over calibrations"
_RATIO = "1 - AUROC over that of the best known detector"
_KNOWN = "known signals tell better what two columns reach: near the border, or deep beyond"
_WHY = {
    "digits, plain: undetected, best attack within .1": _UNION,
    "digits, plain, L∞: refused": "FGSM at large sizes and Square are suspect, as changed images",
    "digits, plain, a pixel's shift: refused": _PIXEL,
    "digits, plain, thicker strokes: refused": _STROKES,
    "digits, plain, bent paper: refused": _STROKES,
    "digits, plain, missing pixels: refused": _SPARSE,
    "digits, plain, another source: refused": "MNIST, of which the model reads half",
    "digits, hardened, contrast 1.4: refused": "the most that images taken anew are drawn with",
    "digits, hardened, thicker strokes: refused": _STROKES,
    "digits, hardened, missing pixels: refused": _SPARSE,
    "digits, hardened, other writers: refused, at most": "thresholds are of 13 others' digits",
    "digits, hardened: adaptive, undetected within 0.2": "a network hardened on 617 rows gives way"
    " by itself, and screening finds little of that",
    "digits, hardened: attacks of least norm, within the size: refused or suspect": "rows that are"
    " moved little lie where the model itself is unsure, as honest ones do",
    "Fashion-MNIST, plain: undetected, best attack within .1": _UNION,
    "Fashion-MNIST, plain, L∞: refused or suspect": _SQUARE,
    **{
        f"flights, plain, {family}: {what}": why
        for family in ("L∞", "L2/L1")
        for why, parts in (
            (_DELAY, ("refused", "refused or suspect")),
            (_KNOWN, (_RATIO, f"{_RATIO}, family left out")),
        )
        for what in parts
    },
    "flights, plain: clean rows suspect": _AVERAGE,
    "flights, plain, month 6: refused": "5.3% of its flights leave over two hours late, of the"
    " first months' 2.5%",
}
"""By a target's name, why it is missed."""


def targets_of(rows: Sequence[Row]) -> list[Target]:
    targets = [target for row in rows for target in _of(row)]
    # One that was not measured says itself why.
    return [each if each.value is None else each.unless_met(_WHY) for each in targets]


def _of(row: Row) -> Iterator[Target]:
    title = f"{row['data']}, {row['model']}"
    if row["model"] == PLAIN and row["data"] != FLIGHTS.title:
        headline = row[f"undetected, best attack within {SMALL:g}"]["mean"]
        yield Target(f"{title}: undetected, best attack within .1", headline, 0.05)
    if row["model"] == PLAIN:
        for name, bounds in _BOUNDS.items():
            yield from _family(row, name, bounds)
    for what, most in (("refused", 0.01), ("suspect", 0.05)):
        yield Target(f"{title}: clean rows {what}", row[f"clean {what}"][OURS]["mean"], most)
    for name, share in row["honest changes refused"].items():
        if name == WRITERS:
            yield Target(f"{title}, {name}: refused, at most", share["mean"], 0.01)
            if row["model"] == PLAIN:
                yield Target(f"{title}, {name}: refused, at least", share["mean"], 0.005, True)
        else:
            most = 0.05 if name == NATURAL else 0.02
            yield Target(f"{title}, {name}: refused", share["mean"], most)
    if row["model"] == HARDENED:
        yield from _hardened(row, title)
    if off := row.get("without a detector"):
        # Earlier rows have none.
        name = (
            f"{title}: rows turned by the adaptive attacker over AutoAttack's, without a detector"
        )
        yield Target(name, off["adaptive"]["mean"] - off["AutoAttack"]["mean"], 0.0, True)


def _hardened(row: Row, title: str) -> Iterator[Target]:
    first = 0.15 if row["data"] == DIGITS.title else 0.2
    for size, most in ((0.1, first), (0.2, 0.3)):
        if walked := row.get(f"adaptive within {size:g}"):
            share = walked["undetected"]["mean"]
            yield Target(f"{title}: adaptive, undetected within {size:g}", share, most)
    near = [each.get("within the size") for each in row["attacks"] if each["attack"] in NEAREST]
    told = [each for each in near if each]
    if told:
        name = f"{title}: attacks of least norm, within the size: refused or suspect"
        count = sum(each["of"] for each in told)
        share = sum(each["mean"] * each["of"] for each in told) / max(count, 1)
        few = f"{count} rows within the size, of which {share:.2f}"
        found = share if count >= LEAST else None
        yield Target(name, found, 0.9, True).because("" if found is not None else few)


def _family(row: Row, name: str, bounds: tuple[float, float]) -> Iterator[Target]:
    """Means over the attacks of the family that are measured."""
    cells = [each for each in row["attacks"] if each["family"] == name and "refused" in each]
    if not cells:
        return
    for what, least in zip(("refused", "refused or suspect"), bounds, strict=True):
        value = float(np.mean([each[what]["mean"] for each in cells]))
        yield Target(f"{row['data']}, plain, {name}: {what}", value, least, True)
    missing = {
        detector: 1 - float(np.mean([each["auroc"][detector] for each in cells]))
        for detector in cells[0]["auroc"]
    }
    best = max(min(v for k, v in missing.items() if k not in (OURS, UNSEEN)), 1e-4)
    title = f"{row['data']}, plain, {name}: {_RATIO}"
    yield Target(title, missing[OURS] / best, 0.8)
    if UNSEEN in missing:
        yield Target(f"{title}, family left out", missing[UNSEEN] / best, 0.8)
