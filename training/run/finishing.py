"""Finishes a run: exports the model, writes reports and plots.

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

from publishing.source.folder import CONFIG, ORIGIN, RESPONSE, SERVING, TOKENIZER
from sealgate.trust.times import format_time
from training.data.run_data import RunData
from training.data.run_files import storing, write_whole
from training.export.classifier import export_response, export_serving
from training.export.reference import CleanReference, behind, watched
from training.export.text import export_text_response, export_text_serving
from training.export.word_votes import WordVotes
from training.models import students
from training.models.decoder import Decoder
from training.models.encoder import TextClassifier
from training.recipe.federated import FederatedRecipe
from training.recipe.recipe import Recipe
from training.run import language
from training.run.model_description import describe
from training.run.origin import RunInputs, statement
from training.run.plots import Reliability, RunResults, draw
from training.steps.privacy import membership_advantage
from training.steps.progress import TrainingCurves

_DATA = "data.safetensors"
_ROWS_AT_ONCE = 256
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
    if went_in.federated is not None:
        document["federated"] = dict(went_in.federated)
    if went_in.search is not None:
        document["search"] = dict(went_in.search)
    if went_in.alarms is not None:
        document["alarms"] = dict(went_in.alarms)
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
    """What the labelled training rows are like: of texts, their words too."""
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


def _reference(student: nn.Module, material: RunData) -> CleanReference:
    """How the labelled training rows lie before the student's layers."""
    x, y = material.labelled
    of_text = material.read.tokenizer is not None
    taken = []
    with torch.no_grad(), watched(student) as entered:
        for part in torch.from_numpy(np.ascontiguousarray(x)).split(_ROWS_AT_ONCE):
            entered.clear()
            student.answers(part)
            taken.append([*([] if of_text else [part.flatten(1)]), *behind(part, entered)])
    layers = [torch.cat(parts) for parts in zip(*taken, strict=True)]
    return CleanReference.fit(layers, y, len(material.read.names))


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
    members = tuple(torch.from_numpy(part) for part in material.labelled)
    return {
        "accuracy": float((told.argmax(1) == y).float().mean()),
        "test_rows": len(y),
        "parameters": sum(parameter.numel() for parameter in student.parameters()),
        "membership_advantage": membership_advantage(student, members, (x, y)),
        "reliability": Reliability.of(told.numpy(), y.numpy()),
    }


def _slices(material: RunData) -> bytes:
    return save({name: torch.from_numpy(rows) for name, rows in material.published().items()})
