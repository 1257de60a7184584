"""A prompt classifier learns from, is calibrated on and is shown the same kind of rows."""

import json
from pathlib import Path

import numpy as np
import torch

from gateway.screening.prompt_classifier import shown
from inference.screening.calibration import conformal_rank
from inference.text.text_windows import Windows
from inference.text.tokenizer import TextTokenizer
from inference.text.tokens import resized
from tests.support.builders.models.text_models import RULES, sentences, tokenizer_json
from training.data import CALIBRATION, RunData
from training.models.students import logits_of, make
from training.recipe.recipe import AlarmsSection, SliceSizes, StudentSection
from training.run.alarms import settle
from training.run.lengths import ByText
from training.run.sources import read_rows

TEXTS = [" ".join(two) for two in zip(*(sentences(seed, 500)[0] for seed in (1, 2)), strict=True)]
LABELS = ["offer" if number % 3 == 0 else "work" for number in range(500)]


def data(folder: Path) -> SliceSizes:
    path = folder / "texts.jsonl"
    lines = [
        json.dumps({"text": t, "label": label}) for t, label in zip(TEXTS, LABELS, strict=True)
    ]
    path.write_text("\n".join(lines))
    return SliceSizes("texts", 60, 10, 400, path=path, tokens=RULES.most, windows=True)


def test_training_rows_are_what_the_gateway_shows(tmp_path: Path) -> None:
    read = read_rows(data(tmp_path), tokenizer_json())
    tokenizer = TextTokenizer.open(tokenizer_json(), RULES)
    assert len(read.x) > len(TEXTS)
    for number, text in enumerate(TEXTS[:50]):
        windows = shown([("user", text)], Windows(tokenizer))
        rows = resized(tokenizer.rows([window.encode() for window in windows]), RULES.most)
        assert np.array_equal(read.x[read.numbers == number], rows)


def test_the_bound_counts_whole_prompts(tmp_path: Path) -> None:
    asked, alarms = data(tmp_path), AlarmsSection("offer", 0.05)
    material = RunData.cut(read_rows(asked, tokenizer_json()), asked, alarms.label)
    torch.manual_seed(1)
    student = make(StudentSection("encoder", 16, 1), material.read)
    found = settle(student, material, alarms)
    x, y = material.slices[CALIBRATION]
    called = logits_of(student, torch.from_numpy(x)).argmax(1).numpy() == 0
    texts = material.texts[CALIBRATION]
    clean = set(texts[y == 1])
    assert found is not None
    assert (found.texts, found.rank) == (
        len(clean),
        conformal_rank(len(clean), 0.05, 0.9),
    )
    assert len(clean & set(texts[called])) == found.rank - 1


def test_a_bias_with_classes_of_length_bounds_each_class(tmp_path: Path) -> None:
    asked, alarms = data(tmp_path), AlarmsSection("offer", 0.1, lengths=(2,))
    material = RunData.cut(read_rows(asked, tokenizer_json()), asked, alarms.label)
    torch.manual_seed(1)
    student = make(StudentSection("encoder", 16, 1), material.read)
    found = settle(student, material, alarms)
    assert found is not None
    x, y = material.slices[CALIBRATION]
    logits = logits_of(student, torch.from_numpy(x[y == 1])).numpy()
    clean = ByText.of(logits[:, 0] - logits[:, 1], material.texts[CALIBRATION][y == 1])
    single, longer = clean.between(1, 2).highest, clean.between(2, np.inf).highest
    assert len(single) == found.texts
    assert found.rank - 1 <= (single > 0).sum() <= found.rank
    rank = conformal_rank(len(longer), 0.1, 0.9)
    assert (longer > found.by_windows["2"] / 100).sum() <= rank
