"""Attention by windows beside fused attention of all tokens to all: memory, time and accuracy.

The encoder is MiniLM's first two layers. It is trained on short e-mails, where both ways are one;
then it is given 4,096 positions (`training.models.long_encoder.lengthened`), and for each way its
head is fitted to long e-mails and tested on others, for many draws of which are which.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.training import long_mails, reading
from benchmarks.training.intervals import Interval
from benchmarks.training.long_mails import LONGEST, SHORTEST, Mails
from benchmarks.training.rows import KEPT, minilm
from inference.text import tokens
from training.models.encoder import TextClassifier
from training.models.head import fit_head
from training.models.long_encoder import lengthened, size_of
from training.models.students import encoder_from
from training.recipe.sections import TRAIN, RecipeStep
from training.steps.descent import TaughtRows, descend
from training.steps.distillation import LabelLoss, TrainingBatch

_LAYERS, _SHORT, _LONG = 2, 800, 120
_STEP = RecipeStep(TRAIN, epochs=2, batch=32, learning_rate=5e-5)
_DRAWS, _LEARNT, _TIMES = 20, 0.5, 3
_FULL, _WINDOW = reading.TORCH_FUSED, reading.TORCH_WINDOW


def compare() -> list[dict[str, Any]]:
    """A row for each way's memory, and one for the accuracy."""
    module = _encoder()
    return [*_memory(module), _accuracy(module)]


def _encoder() -> TextClassifier:
    """Trained on short e-mails, with positions for long ones; kept in build/bench."""
    torch.manual_seed(1)
    whole = encoder_from(minilm(), 2)
    size = replace(size_of(whole), layers=_LAYERS)
    module = TextClassifier(size, 2)
    module.load_state_dict(whole.state_dict(), strict=False)
    kept = KEPT / "window-encoder.safetensors"
    if not kept.exists():
        x, y = (torch.from_numpy(part) for part in _mails().short)
        descend(module, LabelLoss(), TaughtRows(TrainingBatch(x, y)), _STEP, 1)
        save_file(module.state_dict(), kept)
    module.load_state_dict(load_file(kept))
    longer = lengthened(module, LONGEST, reading.REACH)
    found = TextClassifier(size_of(longer), 2)
    found.load_state_dict(longer.state_dict())
    return found.eval()


def _mails() -> Mails:
    return long_mails.read(_SHORT, _LONG)


def _memory(module: TextClassifier) -> list[dict[str, Any]]:
    found = {}
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_file(module.state_dict(), weights)
        for way in (*reading.OF_TORCH, *reading.OF_ONNX):
            path = weights
            if way in reading.OF_ONNX:
                path = Path(folder) / f"{way.replace(' ', '-')}.onnx"
                path.write_bytes(reading.graph(way, module))
            found[way] = [_peak(way, path) for _ in range(_TIMES)]
    return [
        {
            "part": "windows",
            "way": way,
            "tokens": LONGEST,
            "layers": _LAYERS,
            "mebibytes_before": median(each["before"] for each in told),
            "mebibytes_peak": median(each["peak"] for each in told),
            "mebibytes_added": round(median(each["peak"] - each["before"] for each in told), 1),
            "seconds": median(each["seconds"] for each in told),
        }
        for way, told in found.items()
    ]


def _peak(way: str, path: Path) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.training.peak", way, str(path), str(LONGEST)]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
    told = subprocess.run(words, check=True, capture_output=True, env=surroundings).stdout
    found: dict[str, float] = json.loads(told)
    return found


def _accuracy(module: TextClassifier) -> dict[str, Any]:
    rows, classes = _mails().long
    vectors = {way: _vectors(way, module, rows) for way in (_FULL, _WINDOW)}
    rights: dict[str, list[float]] = {way: [] for way in vectors}
    y = torch.from_numpy(classes)
    for seed in range(_DRAWS):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)))
        learnt, tested = order.split(
            [int(_LEARNT * len(rows)), len(rows) - int(_LEARNT * len(rows))]
        )
        for way, told in vectors.items():
            weight, bias = fit_head(told[learnt], y[learnt], 2)
            right = (told[tested] @ weight.T + bias).argmax(1) == y[tested]
            rights[way].append(float(right.float().mean()))
    return {
        "part": "windows",
        "way": "accuracy",
        "inputs": len(rows),
        "spam": int(classes.sum()),
        "mean_tokens": int(tokens.lengths(rows).mean()),
        "accuracy_full": Interval.of(rights[_FULL]).shown(),
        "accuracy_window": Interval.of(rights[_WINDOW]).shown(),
        "of_full": Interval.of(_shares(rights[_WINDOW], rights[_FULL])).shown(),
    }


def _shares(mine: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(mine, theirs, strict=True)]


def _vectors(way: str, module: TextClassifier, rows: np.ndarray) -> torch.Tensor:
    """What enters the head, of each row; kept in build/bench."""
    kept = KEPT / f"{way.replace(' ', '-')}-vectors.safetensors"
    if kept.exists():
        return load_file(kept)["vectors"]
    net = reading.as_way(way, module).eval()
    found = []
    with torch.no_grad():
        for row in rows:
            held = torch.from_numpy(row[row != tokens.NO_TOKEN])[None]
            if held.shape[1] < SHORTEST:
                raise ValueError("not a long input")
            found.append(net.answers(held)[0][0])
    vectors = torch.stack(found)
    save_file({"vectors": vectors}, kept)
    return vectors
