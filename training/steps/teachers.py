"""Teachers: what each kind of teacher says about the rows.

checkpoint   an imported model of transformers: its own head if it classifies into as many classes,
             otherwise a head fitted here to its vectors on the labelled rows
graph        the serving graph of a folder that `sealgate train` or an exporter wrote
boosting     boosted trees on the labelled rows, for tables
neighbours   the labels of a few rows, spread among nearest neighbours, for tables with very few
             labels (Zhou et al., NIPS 2003)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.semi_supervised import LabelSpreading
from torch.nn import functional

from inference.runtime.settings import CPU
from publishing.source.folder import SERVING, TOKENIZER, SourceFolder, read_plain_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from training.data import TRAIN, RunData
from training.models import checkpoints
from training.recipe import recipe
from training.recipe.recipe import Recipe, TeacherSection

_DECAY = 1e-3
# A place that hardly varies, as MiniLM has one, would get a weight so large that INT8 has no level
# left for the others.
_LEAST_SPREAD = 1e-3


def fit_head(
    vectors: torch.Tensor, y: torch.Tensor, classes: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logistic regression on standardized vectors [n, W]; the scaling goes into the head.

    Returns the weight [C, W] and the bias [C].
    """
    mean, spread = vectors.mean(0), vectors.std(0)
    varies = spread > _LEAST_SPREAD * spread.median()
    # Without a spread it gets no weight at all.
    spread = torch.where(varies, spread, torch.inf)
    scaled = (vectors - mean) / spread
    weight = torch.zeros(classes, scaled.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(scaled @ weight.T + bias, y)
        value = value + _DECAY * (weight * weight).sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        found = weight / spread
        return found, bias - found @ mean


_BATCH = 32
_LEAST_PROBABILITY = 1e-4
_NEIGHBOURS = 7


@dataclass(frozen=True, slots=True)
class TeacherAnswer:
    """A teacher's answer for rows: logits [n, C], and vectors [n, W] if it has some. `parents` are
    the digests of what it was made from, by name.
    """

    logits: torch.Tensor
    vectors: torch.Tensor | None
    parents: dict[str, str]


def tokenizer_in(folder: Path | None) -> bytes | None:
    """The tokenizer that comes with an imported checkpoint, if one does."""
    if folder is None or not (folder / TOKENIZER).is_file():
        return None
    return read_plain_file(folder / TOKENIZER)


def tokenizer_of(asked: Recipe) -> bytes | None:
    """That of a recipe, or else that of whom its student begins from or learns from."""
    if asked.data.tokenizer is not None:
        return read_plain_file(asked.data.tokenizer)
    return tokenizer_in(asked.student.path or asked.teacher.path)


def digest(asked: TeacherSection) -> str:
    """Of what the teacher is read from, "" for one that is made here. Raises what a folder is
    refused for.
    """
    if asked.path is None:
        return ""
    if asked.kind == recipe.GRAPH:
        return sha256(read_plain_file(asked.path / SERVING))
    return checkpoints.read_imported(asked.path).digest


def teach(
    asked: TeacherSection,
    material: RunData,
    seed: int,
    megabytes: float = 0.0,
    device: str = CPU,
) -> TeacherAnswer:
    """The teacher's answers for the train slice. A checkpoint is asked on torch's `device`, or
    spread over devices that hold so many `megabytes` each (`training.recipe.sections`).

    Raises: RECIPE_INVALID for a teacher of other rows or classes; CHECKPOINT_REFUSED, and what a
    folder is refused for.
    """
    rows = material.slices[TRAIN][0]
    path = asked.path or Path()
    if asked.kind == recipe.GRAPH:
        return _graph(path, rows, material)
    if asked.kind == recipe.BOOSTING:
        return _boosting(rows, material, seed)
    if asked.kind == recipe.NEIGHBOURS:
        return _neighbours(material)
    if material.read.tokenizer != tokenizer_in(path):
        raise SealgateError(Reason.RECIPE_INVALID, "the teacher uses another tokenizer")
    return _checkpoint(path, rows, material, megabytes, device)


def _graph(path: Path, rows: np.ndarray, material: RunData) -> TeacherAnswer:
    source = SourceFolder.read(path)
    if source.config.labels != material.read.names or source.config.tokens is not None:
        raise SealgateError(
            Reason.RECIPE_INVALID, "the teacher knows other classes, or takes texts"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        source.serving, options, providers=["CPUExecutionProvider"]
    )
    if rows.shape[1:] != source.config.input.row:
        raise SealgateError(
            Reason.RECIPE_INVALID, f"the teacher takes rows {source.config.input.row}"
        )
    parts = np.split(rows, range(256, len(rows), 256))
    logits = np.concatenate([session.run(None, {"x": part})[0] for part in parts])
    return TeacherAnswer(torch.from_numpy(logits), None, {"teacher": sha256(source.serving)})


def _boosting(rows: np.ndarray, material: RunData, seed: int) -> TeacherAnswer:
    x, y = material.labelled
    trees = HistGradientBoostingClassifier(random_state=seed)
    trees.fit(x.reshape(len(x), -1), y)
    told = trees.predict_proba(rows.reshape(len(rows), -1)).clip(min=_LEAST_PROBABILITY)
    logits = torch.from_numpy(np.log(told)).float()
    # Trees follow from the rows, the seed and scikit-learn, all of which are recorded.
    return TeacherAnswer(logits, None, {})


def _neighbours(material: RunData) -> TeacherAnswer:
    rows, y = material.slices[TRAIN]
    spread = LabelSpreading(kernel="knn", n_neighbors=min(_NEIGHBOURS, len(rows)), max_iter=100)
    spread.fit(rows.reshape(len(rows), -1), y)
    # Rows that no label reaches have nothing but zeros.
    told = spread.label_distributions_.clip(min=_LEAST_PROBABILITY)
    return TeacherAnswer(torch.from_numpy(np.log(told)).float(), None, {})


def _checkpoint(
    path: Path, rows: np.ndarray, material: RunData, megabytes: float, device: str
) -> TeacherAnswer:
    imported = checkpoints.read_imported(path)
    config = json.loads((path / checkpoints.CONFIG).read_bytes())
    classes = len(material.read.names)
    own_head = "ForSequenceClassification" in "".join(config.get("architectures") or [])
    with TemporaryDirectory() as disk:
        if megabytes:
            # The code that spreads it moves rows to its first part.
            model = loaded(path, own_head, spread_over(megabytes, disk, device))
            vectors, logits = ask(model, rows, own_head)
        else:
            model = loaded(path, own_head, {}).to(device)
            vectors, logits = ask(model, rows, own_head, device)
    if logits is None or logits.shape[1] != classes:
        place = torch.from_numpy(material.slices[TRAIN][1]) >= 0
        y = torch.from_numpy(material.labelled[1])
        weight, bias = fit_head(vectors[place], y, classes)
        logits = vectors @ weight.T + bias
    return TeacherAnswer(logits, vectors, {f"checkpoint {imported.origin}": imported.digest})


def spread_over(megabytes: float, disk: str, device: str = CPU) -> dict[str, Any]:
    """How transformers is told, for accelerate, to fill each device, and then the folder `disk`:
    the CPU alone, or all cards and then the CPU where `device` is a card.
    """
    cards = [] if device == CPU else range(torch.cuda.device_count())
    devices: list[int | str] = [*cards, CPU]
    room = {device: int(megabytes * 1e6) for device in devices}
    return {"device_map": "auto", "max_memory": room, "offload_folder": disk}


def loaded(path: Path, own_head: bool, spread: Mapping[str, Any]) -> Any:
    """A model of transformers, of a folder that was taken in; `own_head` keeps its classifier.

    Raises CHECKPOINT_REFUSED.
    """
    from transformers import AutoModel, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.disable_progress_bar()

    kind = AutoModelForSequenceClassification if own_head else AutoModel
    try:
        model = kind.from_pretrained(
            path, local_files_only=True, trust_remote_code=False, use_safetensors=True, **spread
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SealgateError(Reason.CHECKPOINT_REFUSED, "transformers cannot load it") from error
    return model.eval()


def ask(
    model: Any, rows: np.ndarray, own_head: bool, device: str = CPU
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Mean vectors of the last layer [n, W], and the logits of the model's own head, on the CPU;
    rows are handed over on torch's `device`.
    """
    vectors, logits = [], []
    # Batch rows of equal length, or each would cost as much as the longest in its batch.
    order = torch.from_numpy(np.argsort((rows >= 0).sum(1), kind="stable"))
    for part in torch.from_numpy(rows)[order].split(_BATCH):
        ids = part[:, : int((part >= 0).sum(1).max())].to(device)
        mask = (ids >= 0).to(torch.int64)
        with torch.no_grad():
            told = model(
                input_ids=ids.clamp(min=0), attention_mask=mask, output_hidden_states=own_head
            )
        hidden = told.hidden_states[-1] if own_head else told.last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        vectors.append(mean.cpu())
        if own_head:
            logits.append(told.logits.cpu())
    back = torch.argsort(order)
    return torch.cat(vectors)[back], torch.cat(logits)[back] if own_head else None
