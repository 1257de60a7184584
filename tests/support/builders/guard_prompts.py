"""Labelled prompts of made-up words, and the recipe of a classifier that learns from them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.guard.baselines import Learnt
from tests.support.builders.models import text_models
from training.recipe.recipe import Recipe

_RECIPE = """
[model]
name = "guard"
description = "d"
intended_use = "u"
[data]
source = "texts"
path = "prompts.jsonl"
train = {train}
fit = 20
calibration = {calibration}
tokens = 16
windows = true
tokenizer = "tokenizer.json"
[student]
kind = "encoder"
[[steps]]
kind = "train"
[alarms]
label = "injection"
{alarms}
"""
_LETTERS = Path(text_models.__file__).parent / "letters" / "tokenizer.json"
_WORDS = [f"{a}{b}" for a in "bdfgl" for b in ("a", "e", "i", "o", "u", "an", "en")]


def learnt(
    folder: Path,
    first: Sequence[tuple[str, str]],
    *,
    rows: int,
    train: int,
    calibration: int,
    alarms: str = "",
) -> Learnt:
    """So many prompts, each a word of `first` and six others; the word gives the label."""
    some = np.random.default_rng(1)
    made = []
    for number in range(rows):
        word, label = first[number % len(first)]
        made.append({"text": " ".join([word, *some.choice(_WORDS, 6)]), "label": label})
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, made)))
    (folder / "tokenizer.json").write_bytes(_LETTERS.read_bytes())
    recipe = _RECIPE.format(train=train, calibration=calibration, alarms=alarms)
    (folder / "recipe.toml").write_text(recipe)
    return Learnt.read(Recipe.read(folder / "recipe.toml"))
