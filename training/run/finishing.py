"""Finishes a run: describes and exports the model, writes reports and plots.

`training.run.recipe_run` describes the resulting folder.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from inference.model.config import UNBOUNDED, Batching, ModelConfig, TrainingDataInfo
from inference.model.request_tensors import TensorSpec
from inference.runtime.response_contract import IDS
from inference.text.tokens import TokenRules
from publishing.source.folder import CONFIG, ORIGIN, RESPONSE, SERVING, TOKENIZER
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.times import format_time
from training.data import Classes, Rows, RunData, SourceRows, storing, write_whole
from training.export.classifier import export_response, export_serving
from training.export.reference import CleanReference, behind, watched
from training.export.text import export_text_response, export_text_serving
from training.export.word_votes import WordVotes
from training.models import students
from training.models.encoder import TextClassifier
from training.models.students import Decoder
from training.recipe.federated import FederatedRecipe
from training.recipe.recipe import Recipe
from training.run import language
from training.run.origin import RunInputs, statement
from training.run.plots import Reliability, RunResults, draw
from training.steps.privacy import membership_advantage
from training.steps.progress import TrainingCurves

_TEXT = TensorSpec("text", "BYTES", (-1,))
_TOKENS = TensorSpec(IDS, "INT64", (-1, -1))
_TEXTS = Batching(max_rows=32, delay_us=300, queue_rows=1024)
_ROWS = Batching(max_rows=64, delay_us=300, queue_rows=1024)
# Screening's step beside the spread of word embeddings, which differs from model to model.
_STEP = 0.03
# transformers' name of a head whose classes exclude one another; None where it leaves that open.
_ONE_OF_MANY = ("single_label_classification", None)


@dataclass(frozen=True, slots=True)
class ImportDescription:
    """A person's description of an imported classifier. `tokens` is the most that a text may have,
    and `eps` screening's step among the word embeddings; 0 leaves either to the checkpoint.
    """

    name: str
    description: str
    use: str
    data: TrainingDataInfo
    tokens: int = 0
    eps: float = 0.0


def describe(asked: Recipe | FederatedRecipe, read: SourceRows) -> ModelConfig:
    """Raises SealgateError(DOCUMENT_MALFORMED) where the recipe's words make no document."""
    model = asked.model
    of_text = read.tokens is not None
    return ModelConfig(
        name=model.name,
        description=model.description,
        intended_use=model.intended_use,
        data=TrainingDataInfo(read.title, read.license),
        input=_TEXT if of_text else TensorSpec("x", "FP32", (-1, *read.x.shape[1:])),
        output=TensorSpec("logits", "FP32", (-1, len(read.names))),
        labels=read.names,
        domain=read.domain,
        eps=model.eps,
        batching=_TEXTS if of_text else _ROWS,
        scaling=read.scaling,
        tokens=read.tokens,
        blocks=not of_text,
        columns=read.columns,
    )


def describe_imported(about: ImportDescription, model: Any, of_text: bool) -> ModelConfig:
    """Of a classifier that transformers loaded: its labels are those of its configuration. With
    `of_text` it takes texts, by a tokenizer of its own, else tokens.

    Raises: CHECKPOINT_REFUSED where its classes do not exclude one another, or a text may not be so
    long; DOCUMENT_MALFORMED where the words make no document.
    """
    config = model.config
    labels = tuple(config.id2label.get(place) for place in range(config.num_labels))
    if len(labels) < 2 or getattr(config, "problem_type", None) not in _ONE_OF_MANY:
        raise _refused("a head that does not choose one of several classes is not published")
    if not all(isinstance(label, str) for label in labels):
        raise _refused("id2label does not name each class")
    most = about.tokens or config.max_position_embeddings
    if most > config.max_position_embeddings:
        raise _refused(f"it takes texts of {config.max_position_embeddings} tokens")
    spread = float(model.get_input_embeddings().weight.detach().std())
    return ModelConfig(
        name=about.name,
        description=about.description,
        intended_use=about.use,
        data=about.data,
        input=_TEXT if of_text else _TOKENS,
        output=TensorSpec("logits", "FP32", (-1, len(labels))),
        labels=labels,
        domain=UNBOUNDED,
        eps=about.eps or float(f"{_STEP * spread:.3g}"),
        batching=_TEXTS,
        tokens=TokenRules.doubling(config.vocab_size, most),
        blocks=False,
    )


def _refused(detail: str) -> SealgateError:
    return SealgateError(Reason.CHECKPOINT_REFUSED, detail)


_DATA = "data.safetensors"
_ROWS_AT_ONCE = 256
TEXTS_DESCRIBED = 10_000
"""Moments of texts, and what an attacker tells of them, change little with more rows than these."""
Described = tuple[CleanReference | None, WordVotes | None]


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The result of a run: the folder's parts, and the content of `report.json`."""

    model: Path
    data: Path
    report: Mapping[str, Any]

    @classmethod
    def read(cls, out: Path) -> "FinishedRun":
        """From the folder of a run that has ended."""
        data = next(out / name for name in (_DATA, language.PROMPTS) if (out / name).exists())
        return cls(out / "model", data, json.loads((out / "report.json").read_bytes()))


def finish(out: Path, student: nn.Module, material: RunData, went_in: RunInputs) -> FinishedRun:
    """Export, report and draw what was trained; `OUT/model` appears last, and `OUT/run` is gone."""
    student.eval().requires_grad_(False)
    run = out / "run"
    found = (
        language.results(student, material)
        if isinstance(student, Decoder)
        else _results(student, material, went_in)
    )
    draw(TrainingCurves(out / "curves.jsonl").read(), found.reliability, out / "plots")
    beside, data = found.beside
    write_whole(out / beside, data)
    document = {**found.report, "recipe": went_in.recipe_digest, "privacy": went_in.privacy}
    if found.reliability is not None:
        document["reliability"] = asdict(found.reliability)
    document |= went_in.known("federated", "search", "alarms", "certified")
    write_whole(out / "report.json", json.dumps(document, indent=2).encode())
    files = dict(found.files)
    files[ORIGIN] = statement(went_in, files, {beside: data}, format_time(datetime.now(UTC)))
    aside = run / "model"
    shutil.rmtree(aside, ignore_errors=True)
    for name, data in files.items():
        write_whole(aside / name, data)
    with storing():
        aside.rename(out / "model")
    shutil.rmtree(run)
    return FinishedRun.read(out)


def _results(student: nn.Module, material: RunData, went_in: RunInputs) -> RunResults:
    files = _files(went_in.recipe, student, material, described_version(student, material, went_in))
    report = _report(student, material)
    return RunResults(files, (_DATA, _slices(material)), report, report.pop("reliability"))


def described_version(student: nn.Module, material: RunData, went_in: RunInputs) -> Described:
    """The description of the labelled training rows: of texts, their words too."""
    # Rows of members are not here, and a private training would not keep its promise beside moments
    # of its rows, or counts of its words.
    if went_in.federated is not None or went_in.privacy:
        return None, None
    reference = _reference(student, material)
    tokens = material.read.tokens
    if tokens is None or not isinstance(student, TextClassifier):
        return reference, None
    x, y = material.labelled
    # Of all tokens, also of those that a student with fewer words takes for one.
    return reference, WordVotes.fit(x, y, tokens.vocabulary, len(material.read.names))


def described_rows(material: RunData) -> tuple[Rows, Classes]:
    """The labelled training rows; of more than `TEXTS_DESCRIBED` rows of texts, at most so many,
    at equal distances.
    """
    x, y = material.labelled
    if material.read.tokenizer is None:
        return x, y
    every = max(1, -(-len(y) // TEXTS_DESCRIBED))
    return np.ascontiguousarray(x[::every]), y[::every]


def _reference(student: nn.Module, material: RunData) -> CleanReference:
    """How labelled training rows lie before the student's layers."""
    x, y = described_rows(material)
    of_text = material.read.tokenizer is not None
    taken = []
    with torch.no_grad(), watched(student) as entered:
        for part in torch.from_numpy(np.ascontiguousarray(x)).split(_ROWS_AT_ONCE):
            entered.clear()
            student.answers(part)
            taken.append([*([] if of_text else [part.flatten(1)]), *behind(part, entered)])
    layers = [torch.cat(parts) for parts in zip(*taken, strict=True)]
    return CleanReference.fit(layers, y, len(material.read.names), points=not of_text)


def _files(
    asked: Recipe | FederatedRecipe,
    student: nn.Module,
    material: RunData,
    described: Described,
) -> dict[str, bytes]:
    files = {CONFIG: describe(asked, material.read).encode()}
    if material.read.tokenizer is not None:
        files[TOKENIZER] = material.read.tokenizer
        files[SERVING] = export_text_serving(student)
        files[RESPONSE] = export_text_response(student, *described)
    else:
        row = material.read.x.shape[1:]
        files[SERVING] = export_serving(student, row)
        files[RESPONSE] = export_response(student, row, described[0])
    return files


def _report(student: nn.Module, material: RunData) -> dict[str, Any]:
    x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in material.slices["test"])
    told = students.probabilities(student, x)
    members = tuple(torch.from_numpy(part) for part in described_rows(material))
    return {
        "accuracy": float((told.argmax(1) == y).float().mean()),
        "test_rows": len(y),
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
        "membership_advantage": membership_advantage(student, members, (x, y)),
        "reliability": Reliability.of(told.numpy(), y.numpy()),
    }


def _slices(material: RunData) -> bytes:
    return save({name: torch.from_numpy(rows) for name, rows in material.published().items()})
