"""Recipes for tests: a few steps on digits, or on made-up sentences."""

import json
from pathlib import Path

from tests.support.builders.models.text_models import sentences, tokenizer_json

DIGITS = """
[model]
name = "digits"
description = "A small network that reads digits."
intended_use = "Tests."

[run]
seed = 3
checkpoint_steps = 4

[data]
source = "digits"
train = 617
labels = 300
fit = 300
calibration = 480
"""
BOOSTED = '[teacher]\nkind = "boosting"\n'
PERCEPTRON = '[student]\nkind = "perceptron"\nwidth = 128\nlayers = 3\n'
CONVOLUTION = '[student]\nkind = "convolution"\nwidth = 16\nstrides = true\n'
DISTIL = '[[steps]]\nkind = "distil"\nepochs = 8\nlearning_rate = 4e-3\n'
TRAIN = '[[steps]]\nkind = "train"\nepochs = 4\nlearning_rate = 4e-3\n'
HARDEN = '[[steps]]\nkind = "harden"\nepochs = 12\nlearning_rate = 4e-3\n'
CERTIFY = '[[steps]]\nkind = "certify"\nepochs = 2\nlearning_rate = 4e-3\n'
QUANTIZE = '[[steps]]\nkind = "quantize"\nepochs = 1\nlearning_rate = 1e-3\n'
PRIVATE = '[[steps]]\nkind = "private"\nepochs = 20\nlearning_rate = 4e-3\nepsilon = 2.0\n'
PRIVATE += "noise = 1.5\ndelta = 1e-3\n"
TEXTS = """
[model]
name = "letters"
description = "Tells work from offers."
intended_use = "Tests."
eps = 0.02

[run]
checkpoint_steps = 5

[data]
source = "texts"
path = "texts.jsonl"
tokenizer = "tokenizer.json"
tokens = 32
train = 200
fit = 100
calibration = 100
title = "made-up sentences"
license = "CC0-1.0"

[student]
kind = "encoder"
width = 32
layers = 1

[[steps]]
kind = "train"
epochs = 10
learning_rate = 1e-2
checkpointing = true
"""


PROSE = """
[model]
name = "manual"
description = "Goes on with a manual."
intended_use = "Tests."

[run]
checkpoint_steps = 5

[data]
source = "prose"
path = "prose.txt"
tokens = 32
train = 200
fit = 20
calibration = 80

[teacher]
kind = "checkpoint"
path = "teacher"

[student]
kind = "decoder"
width = 32
layers = 1
heads = 4

[[steps]]
kind = "distil"
epochs = 6
batch = 16
learning_rate = 1e-2
hidden = 0.5
temperature = 1.0
weight = 0.9
"""


def digits(folder: Path, *parts: str, name: str = "recipe.toml") -> Path:
    """A recipe's file; without parts, distilled and then quantized in training."""
    path = folder / name
    path.write_text("\n".join((DIGITS, *(parts or (BOOSTED, PERCEPTRON, DISTIL, QUANTIZE)))))
    return path


def prose(folder: Path) -> Path:
    """A recipe's file; its text, tokenizer and teacher are to lie beside it."""
    path = folder / "prose.toml"
    path.write_text(PROSE)
    return path


def texts(folder: Path) -> Path:
    """A recipe's file, its sentences and their tokenizer beside it."""
    made, labels = sentences(5, 460)
    names = ("work", "offer")
    lines = [
        json.dumps({"text": text, "label": names[label]})
        for text, label in zip(made, labels, strict=True)
    ]
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "tokenizer.json").write_bytes(tokenizer_json())
    path = folder / "texts.toml"
    path.write_text(TEXTS)
    return path
