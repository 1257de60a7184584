"""`make bench NAME=texts`: what gets past the screening of texts, by attacks that it is not shown.

MiniLM with a head for each corpus is published by publishing's own steps; attacked are texts that
it tells right, and an attack succeeds where another class leaves. Prints a table; writes
results/texts.json.
"""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.report import Row, Target, finish, show
from benchmarks.screening.counts import FALSE_ALARMS, found_at, wilson
from benchmarks.screening.texts.attacks import ADAPTIVE, UNSEEN, Attack
from benchmarks.screening.texts.corpora import EMAILS, TWEETS, Corpus, Labels
from benchmarks.screening.texts.screened import Scores, ScreenedTexts, publish
from inference.text.tokens import Ids
from publishing.calibration.screening_report import auroc

ATTACKED = 420
MEAN, LEAST = 0.6, 0.45
"""Aimed at: what is caught at 5% of clean texts, over the attacks."""
_WHY = "signals by others (WDR, FGWS, RDE) told less where they were tried"
_RATE = FALSE_ALARMS.index(0.05)
_COLUMNS = ("corpus", "attack", "succeeded", "auroc", "caught at 5%", "suspect", "flagged")


def measure(corpus: Corpus) -> Iterator[Row]:
    model = publish(corpus)
    rows, y = model.cutter.rows(model.test.texts), model.test.classes
    classes, clean = model.answered(rows)
    right = np.flatnonzero(classes == y)
    detector = model.detector
    print(f"{corpus.name}: {len(right) / len(y):.3f} of {len(y)} right", flush=True)
    yield {
        "corpus": corpus.name,
        "attack": "none",
        "right": wilson(len(right), len(y)),
        "suspect": wilson(int((clean > detector.suspect_threshold).sum()), len(clean)),
        "flagged": wilson(int((clean > detector.threshold).sum()), len(clean)),
    }
    chosen = right[:ATTACKED]
    texts = [model.test.texts[at] for at in chosen]
    for name, attack in {**UNSEEN, **ADAPTIVE}.items():
        found = _attacked(model, attack, texts, rows[chosen], y[chosen])
        yield {"corpus": corpus.name, "attack": name, **_told(model, clean, found)}
        print(f"{corpus.name}: {name}", flush=True)


def _attacked(
    model: ScreenedTexts, attack: Attack, texts: list[str], rows: Ids, y: Labels
) -> Scores:
    """The least score [n] of what was made of each text and turns the answer; infinite where
    nothing does.
    """
    least: Scores = np.full(len(rows), np.inf)
    for moved in attack(model, texts, rows, y):
        classes, scores = model.answered(moved)
        least = np.minimum(least, np.where(classes != y, scores, np.inf))
    return least


def _told(model: ScreenedTexts, clean: Scores, least: Scores) -> Row:
    turned, detector = least[np.isfinite(least)], model.detector
    found: Row = {"attacked": len(least), "succeeded": len(turned)}
    if not len(turned):
        return found
    return found | {
        "auroc": round(auroc(clean, turned), 4),
        "caught at 5%": round(float(found_at(clean, turned)[_RATE]), 4),
        "suspect": wilson(int((turned > detector.suspect_threshold).sum()), len(turned)),
        "flagged": wilson(int((turned > detector.threshold).sum()), len(turned)),
    }


def targets(rows: list[Row]) -> Iterator[Target]:
    for corpus in dict.fromkeys(row["corpus"] for row in rows):
        caught = [
            row["caught at 5%"]
            for row in rows
            if row["corpus"] == corpus and row["attack"] in UNSEEN and "caught at 5%" in row
        ]
        for name, value, aim in (("mean", np.mean, MEAN), ("least", np.min, LEAST)):
            what = f"{corpus}: turned texts caught at 5% of clean ones, {name} of unseen attacks"
            found = float(value(caught)) if caught else None
            yield Target(what, found, aim, least=True).unless_met({what: _WHY})


def main() -> None:
    torch.set_num_threads(1)
    rows: list[Row] = []
    notes: dict[str, str] = {}
    for corpus in (EMAILS, TWEETS):
        try:
            rows += measure(corpus)
        except FileNotFoundError as error:
            notes[corpus.name] = str(error)
    show(rows, _COLUMNS)
    finish("texts", rows, list(targets(rows)), notes)


if __name__ == "__main__":
    main()
