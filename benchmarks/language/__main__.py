"""`make bench NAME=language`: a small decoder, taught by a larger one on little real text.

    python -m benchmarks.language [report]

The text is State of the Union addresses, in sequences of 64 tokens. A student reads few of them,
from the same first weights and for as many steps in every arm:

    supervised       the text alone
    hard             the text, and the token that the teacher finds likeliest at each place
    soft             the text, and the teacher's probabilities
    soft, hidden     the same, and the direction of the teacher's hidden vectors
    written          the text, and more that the teacher has written, as if it were text
    written, soft    the same, with the teacher's probabilities on both

`written` over `supervised` is what more text without people gains (semi-supervised), `soft` over
`hard` and `written, soft` over `written` what probabilities gain. All of the text that there is,
for twice as many steps as any arm has, is the ceiling. Each run keeps the weights that were best on
addresses of their own, and is tested on others. A run that is in build/bench/language is not
repeated; `report` makes none. A size counts once all of its runs are there.
"""

import copy
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.intervals import Interval, paired
from benchmarks.language.speeches import TOKENS, VOCABULARY, SpeechRows, speeches
from benchmarks.language.teacher import AnsweredRows, TeacherSize, teacher, told, written
from benchmarks.report import Row, Target, commit, finish, show
from benchmarks.training.rows import KEPT
from training.models.students import Decoder, next_right, perplexity
from training.recipe.sections import DISTIL, TRAIN, RecipeStep
from training.steps.descent import StepProgress, Watch, descend
from training.steps.distillation import TrainingBatch
from training.steps.runner import objective_of

SUPERVISED, HARD, SOFT, HIDDEN, WRITTEN, WRITTEN_SOFT = ARMS = (
    *("supervised", "hard", "soft", "soft, hidden", "written", "written, soft"),
)
ALL, TEACHER = "all of the text", "the teacher"
SEEDS, GUIDE = 3, 12.0
# Sequences that a student reads, and for how many steps of so many of them.
SIZES, _MOST_STEPS = {1_000: 500, 10_000: 1_000}, 2_000
_BATCH, _WRITTEN, _CHOSEN, _UNSEEN, _LOOKS = 16, 3_000, 60, 400, 8
_STUDENT = {"width": 64, "layers": 1, "heads": 4}
_GOAL = "{:,} sequences: percent of accuracy that soft targets gain over hard ones"
_RATE, _TEMPERATURE, _WEIGHT, _HIDDEN = 8e-3, 1.0, 0.9, 1.0
_FOLDER = KEPT / "language"
# Gains that may be missed, and why.
_WHY = {
    "soft targets over hard": "accuracy counts the likeliest token alone, which is all that hard"
    " targets teach; soft ones save more than half of the perplexity",
    "soft targets over the text alone": "three seeds do not tell it from none",
}
Tested = dict[str, float]
"""Of one run: `right`, the share of next tokens that are the likeliest, and `perplexity`."""


@dataclass(frozen=True, slots=True)
class LanguageMaterial:
    """All that runs share: rows, how good the teacher is, and what it says of the first 10,000 rows
    that are read and, behind them, of those that it wrote.
    """

    speeches: SpeechRows
    told: TrainingBatch
    teacher: Tested

    @classmethod
    def make(cls) -> "LanguageMaterial":
        rows = speeches(_FOLDER, _CHOSEN, _UNSEEN)
        model = teacher(_FOLDER, rows, TeacherSize())
        read, begun = rows.read[: max(SIZES)], rows.read[-_WRITTEN:]
        tested = {"right": next_right(MeasuredTeacher(model), rows.unseen)}
        tested["perplexity"] = perplexity(MeasuredTeacher(model), rows.unseen)
        return cls(rows, told(model, torch.cat([read, written(model, begun, 1)])), tested)


class MeasuredTeacher(nn.Module):
    """A model of transformers, measured as students are."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def answers(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.model(input_ids=x, use_cache=False).logits[:, :-1].flatten(0, 1)
        return logits, logits


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:] != ["report"]:
        _measure()
    found = {path.stem: json.loads(path.read_text()) for path, _ in _runs() if path.exists()}
    rows = summary(found)
    show(rows, title="What students reach on unseen addresses")
    gains = [gain for size in whole(found) for gain in gains_of(size, found)]
    if gains:
        show(gains, title="What each gains")
    finish("language", rows, judge(gains), gains=gains, sizes=_sizes(found))


def _measure() -> None:
    material: list[LanguageMaterial] = []
    for path, run in _runs():
        if not path.exists():
            material = material or [LanguageMaterial.make()]
            began = time.process_time()
            path.write_text(json.dumps({"commit": commit(), **run(material[0])}))
            print(f"{path.stem}: {time.process_time() - began:.0f} s of CPU", flush=True)


def _runs() -> Iterator[tuple[Path, Callable[[LanguageMaterial], Tested]]]:
    """The file of each run, and how it is measured."""
    yield _FOLDER / "teacher.json", lambda material: material.teacher
    for size in SIZES:
        for seed in range(1, SEEDS + 1):
            for arm in ARMS if size > min(SIZES) else (*ARMS, ALL):
                run = partial(learn, size=size, arm=arm, seed=seed)
                yield _FOLDER / f"{name(size, arm, seed)}.json", run


def name(size: int, arm: str, seed: int) -> str:
    """Of a run; all of the text is no more for a larger size."""
    return f"{arm} {seed}" if arm == ALL else f"{size} {arm} {seed}"


def whole(found: Mapping[str, Any]) -> list[int]:
    """The sizes of which every run is there."""
    seeds, arms = range(1, SEEDS + 1), (*ARMS, ALL)
    return [
        size
        for size in SIZES
        if all(name(size, arm, seed) in found for arm in arms for seed in seeds)
    ]


def learn(material: LanguageMaterial, size: int, arm: str, seed: int) -> Tested:
    """Train a student, keep its best weights, and test it."""
    torch.manual_seed(seed)
    student = Decoder(VOCABULARY, TOKENS, **_STUDENT)
    step, corpus = _step(arm), _corpus(material, size, arm, seed)
    best: dict[str, Any] = {}
    watch = keeping_best(student, lambda: perplexity(student, material.speeches.chosen), best)
    descend(student, objective_of(step, student, corpus), corpus, step, seed, watch)
    student.load_state_dict(best["state"])
    unseen = material.speeches.unseen
    tested = {"right": next_right(student, unseen), "perplexity": perplexity(student, unseen)}
    return {**tested, "step": best["step"]}


def _step(arm: str) -> RecipeStep:
    common: dict[str, Any] = {"epochs": 1, "batch": _BATCH, "learning_rate": _RATE}
    if arm in (SUPERVISED, WRITTEN, ALL):
        return RecipeStep(TRAIN, **common)
    hidden = _HIDDEN if arm == HIDDEN else 0.0
    taught: dict[str, Any] = {"temperature": _TEMPERATURE, "weight": _WEIGHT, "hidden": hidden}
    return RecipeStep(DISTIL, **taught, **common)


def _corpus(material: LanguageMaterial, size: int, arm: str, seed: int) -> AnsweredRows:
    length = _steps(size, arm) * _BATCH
    if arm == ALL:
        every = material.speeches.read
        return AnsweredRows(_untold(every), torch.arange(len(every)), length)
    drawn = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(max(SIZES), generator=drawn)[:size]
    if arm in (WRITTEN, WRITTEN_SOFT):
        chosen = torch.cat([chosen, torch.arange(max(SIZES), max(SIZES) + _WRITTEN)])
    rows = _untold(material.told.x) if arm in (SUPERVISED, WRITTEN) else material.told
    return AnsweredRows(rows, chosen, length, hard=arm == HARD)


def _steps(size: int, arm: str) -> int:
    return _MOST_STEPS if arm == ALL else SIZES[size]


def _untold(x: torch.Tensor) -> TrainingBatch:
    return TrainingBatch(x, torch.zeros(len(x), dtype=torch.int64))


def keeping_best(student: nn.Module, measure: Callable[[], float], best: dict[str, Any]) -> Watch:
    """A watch that keeps in `best` the weights of lowest `measure`, which it takes eight times."""

    def watch(now: StepProgress) -> None:
        if now.done * _LOOKS // now.total == (now.done - 1) * _LOOKS // now.total:
            return
        value = measure()
        if value < best.get("value", float("inf")):
            state = copy.deepcopy(student.state_dict())
            best.update({"value": value, "state": state, "step": now.done})

    return watch


def summary(found: Mapping[str, Any]) -> list[Row]:
    """A row for the teacher, and one for each arm of each size."""
    theirs = found["teacher"]
    rows: list[Row] = [
        {
            "sequences": None,
            "arm": TEACHER,
            "accuracy": round(100 * theirs["right"], 3),
            "perplexity": round(theirs["perplexity"], 3),
        }
    ]
    for size in whole(found):
        for arm in (*ARMS, ALL):
            rows.append(
                {
                    "sequences": size,
                    "arm": arm,
                    "accuracy": Interval.of(_told(found, size, arm, "right")).shown(),
                    "perplexity": Interval.of(_told(found, size, arm, "perplexity")).shown(1),
                    "steps": _steps(size, arm),
                    "kept_after": _told(found, size, arm, "step"),
                }
            )
    return rows


def _told(found: Mapping[str, Any], size: int, arm: str, what: str) -> list[float]:
    if arm == TEACHER:
        return [found["teacher"][what]] * SEEDS
    return [found[name(size, arm, seed)][what] for seed in range(1, SEEDS + 1)]


def gains_of(size: int, found: Mapping[str, Any]) -> list[Row]:
    """What one arm gains over another: points of accuracy, percent of it, percent of perplexity."""
    gains = []
    for what, ours, other in (
        ("soft targets over hard", SOFT, HARD),
        ("soft targets and hidden vectors over hard", HIDDEN, HARD),
        ("soft targets over the text alone", SOFT, SUPERVISED),
        ("soft targets and hidden vectors over the text alone", HIDDEN, SUPERVISED),
        ("hidden vectors, beside soft targets", HIDDEN, SOFT),
        ("semi-supervised: the teacher's text, as text", WRITTEN, SUPERVISED),
        ("soft targets, on the teacher's text too", WRITTEN_SOFT, WRITTEN),
        ("ceiling: all of the text, over hard", ALL, HARD),
        ("ceiling: all of the text, over the text alone", ALL, SUPERVISED),
        ("ceiling: the teacher itself, over hard", TEACHER, HARD),
    ):
        mine, theirs = (_told(found, size, arm, "right") for arm in (ours, other))
        less = (_told(found, size, arm, "perplexity") for arm in (ours, other))
        shares = [a / b - 1 for a, b in zip(mine, theirs, strict=True)]
        saved = [1 - a / b for a, b in zip(*less, strict=True)]
        gains.append(
            {
                "sequences": size,
                "gain": what,
                "points": paired(mine, theirs).shown(),
                "percent": Interval.of(shares).shown(),
                "percent_of_perplexity": Interval.of(saved).shown(),
            }
        )
    return gains


def judge(gains: list[Row]) -> list[Target]:
    """The guide's percentage, and whether soft targets gain anything."""
    found = []
    for size in SIZES:
        mine = {gain["gain"]: gain for gain in gains if gain["sequences"] == size}
        if not mine:
            found.append(Target(_GOAL.format(size), None, GUIDE, least=True, why="not run"))
            continue
        found.append(_goal(size, mine))
        for what, why in _WHY.items():
            points = mine[what]["points"]
            goal = f"{size:,} sequences: points gained by {what}, low end"
            told = f"{points['mean']:.1f} ± {points['off']:.1f} points: {why}"
            aim = Target(goal, points["mean"] - points["off"], 0.0, least=True)
            found.append(aim.unless_met({goal: told}))
    return found


def _goal(size: int, gains: Mapping[str, Row]) -> Target:
    """The guide's percentage, beside what could be reached."""
    soft, text, teacher = (
        gains[what]["percent"]["mean"]
        for what in (
            "soft targets over hard",
            "ceiling: all of the text, over hard",
            "ceiling: the teacher itself, over hard",
        )
    )
    goal = _GOAL.format(size)
    why = (
        f"beside hard targets, all of the text in place of {size:,} sequences, without a teacher,"
        f" comes to {text:+.1f}%, and the teacher itself to {teacher:+.1f}%"
    )
    return Target(goal, soft, GUIDE, least=True).unless_met({goal: why})


def _sizes(found: Mapping[str, Any]) -> Row:
    size = TeacherSize()
    commits = sorted({each["commit"] for each in found.values()})
    return {
        "teacher": f"{size.layers} layers by {size.width}, {size.epochs} epochs",
        "student": f"{_STUDENT['layers']} layer by {_STUDENT['width']}",
        "tokens": TOKENS,
        "vocabulary": VOCABULARY,
        "written": _WRITTEN,
        "commits": commits,
    }


if __name__ == "__main__":
    main()
