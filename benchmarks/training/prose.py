"""A small language model on little text: from the text alone, and from a larger one's word on it.

The text is Python's own manual. The teacher (Qwen2's architecture, as the student) has read most of
it; students see a small part of that, from the same weights for the same number of steps, and are
tested on pages that nobody has seen. The best fixed setting is chosen on a slice of its own.
"""

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from benchmarks.training.intervals import Interval
from benchmarks.training.rows import KEPT
from tests.support.builders.models import tiny_decoder
from training.models.checkpoints import take_in
from training.models.decoder import Decoder, perplexity
from training.models.families import load
from training.recipe.sections import DISTIL, TRAIN, RecipeStep
from training.run.language import ProseTask, ask_of
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import AdaptiveDistillation, Distillation, LabelLoss, TrainingBatch

_TOKENS, _SEEN, _CHOSEN, _LETTERS = 64, 400, 60, 600_000
_STEPS, _WIDTH, _LAYERS = 1000, 96, 2
_STUDENT = {"width": 32, "layers": 1, "heads": 4}
_SETTINGS: dict[str, Any] = {"epochs": 12, "batch": 16, "learning_rate": 8e-3}
GRID = ((1.0, 0.9), (2.0, 0.5), (2.0, 0.9), (4.0, 0.9))


def compare(seeds: int) -> list[dict[str, Any]]:
    """A row for each arm: perplexity of the unseen pages, and how many percent less than `hard`."""
    folder = _teacher()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    read, unseen = (_rows(tokenizer, text) for text in tiny_decoder.texts())
    seen, chosen = read[:_SEEN], read[-_CHOSEN:]
    teacher = load(folder)
    ask = ask_of(teacher, tokenizer.get_vocab_size())
    steps = {"hard": RecipeStep(TRAIN, **_SETTINGS)}
    for temperature, weight in GRID:
        name = f"soft T={temperature:g} w={weight:g}"
        steps[name] = RecipeStep(DISTIL, temperature=temperature, weight=weight, **_SETTINGS)
    steps["adaptive"] = RecipeStep(DISTIL, temperature=4.0, weight=0.9, adaptive=True, **_SETTINGS)
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for seed in range(1, seeds + 1):
        for name, step in steps.items():
            corpus = ProseTask(TrainingBatch(seen, torch.zeros(len(seen))), ask)
            net = _learn(step, corpus, tokenizer.get_vocab_size(), seed)
            told[name].append((perplexity(net, chosen), perplexity(net, unseen)))
    fixed = [name for name in steps if name.startswith("soft")]
    best = min(fixed, key=lambda name: sum(first for first, _ in told[name]))
    theirs = math.exp(float(teacher(input_ids=unseen, labels=unseen).loss))
    hard = [tested for _, tested in told["hard"]]
    return [
        {
            "part": "prose",
            "data": "Python's manual",
            "teacher": f"{_LAYERS} layers by {_WIDTH}",
            "teacher_perplexity": round(theirs, 3),
            "tokens": seen.numel(),
            "arm": name,
            "chosen": name == best,
            "perplexity": Interval.of([tested for _, tested in both]).shown(1.0),
            "percent_less": Interval.of(
                [1 - tested / other for (_, tested), other in zip(both, hard, strict=True)]
            ).shown(),
        }
        for name, both in told.items()
    ]


def _teacher() -> Path:
    folder, saved = KEPT / "prose-teacher", KEPT / "prose-teacher-saved"
    if not folder.exists():
        shutil.rmtree(saved, ignore_errors=True)
        tiny_decoder.make(saved, steps=_STEPS, width=_WIDTH, layers=_LAYERS)
        take_in(saved, folder)
    return folder


def _rows(tokenizer: Tokenizer, text: str) -> torch.Tensor:
    ids = torch.tensor(tokenizer.encode(text[:_LETTERS]).ids)
    return ids[: len(ids) // _TOKENS * _TOKENS].reshape(-1, _TOKENS)


def _learn(step: RecipeStep, corpus: TaughtRows, vocabulary: int, seed: int) -> Decoder:
    torch.manual_seed(seed)
    net = Decoder(vocabulary, _TOKENS, **_STUDENT)
    objective: torch.nn.Module = LabelLoss()
    if step.kind == DISTIL:
        objective = (AdaptiveDistillation if step.adaptive else Distillation)(step)
    descend(net, objective, corpus, step, seed)
    return net
