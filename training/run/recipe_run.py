"""Runs a recipe, from its file to a folder for `sealgate model publish`.

    OUT/model/             model.json, serving.onnx, response.onnx, a tokenizer.json for texts, and
                           provenance.json
    OUT/data.safetensors   the slices, for --data
    OUT/plots/, report.json, curves.jsonl
    OUT/student.toml       after a search for a student, the recipe with the student that was found
    OUT/run/               the state of an interrupted run; removed at the end

1. The recipe is read, its device must be there, and the folder is bound to it, its data, this code,
   the device and the models that it starts from: a run with other inputs is never continued. One
   run at a time works in the folder.
2. The teacher labels the training rows, once.
3. If the recipe asks for it, a student is searched. Each step trains the student; its weights are
   kept, so that a later start continues after it. For a class that is looked for, the bias is moved
   to the rate of false alarms that the recipe bounds (`training.run.alarms`).
4. Both graphs are exported, the response graph with a reference of the labelled training rows and,
   for texts, with word statistics, unless a step was private. The plots are drawn, and the folder
   `model` appears whole or not at all.

The same recipe, seed, data and code give the same graphs to the byte on one machine's CPU,
interrupted or not. Exceptions are private steps (`training.steps.privacy`) and interrupted steps of
three or more processes. A card promises no such thing, and a run that one device began is not
continued on another (RUN_FOREIGN). For language models see `training.run.language`.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn

from inference.runtime.providers import TorchDevice, select_device
from inference.runtime.settings import CPU
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust import canonical
from sealgate.trust.canonical import sha256
from sealgate.trust.times import format_time
from training.data import TRAIN, RunData, SourceRows, held, is_bare, write_whole
from training.models import checkpoints, students
from training.recipe import recipe
from training.recipe.recipe import Recipe
from training.recipe.sections import DevicesSection
from training.run import language, sources
from training.run.alarms import check, settle
from training.run.augmentation import given
from training.run.finishing import FinishedRun, finish
from training.run.origin import RunInputs, claimed
from training.steps import teachers
from training.steps.certification import share_certified
from training.steps.descent import CheckpointPlan, TaughtRows
from training.steps.distillation import TrainingBatch
from training.steps.progress import ProgressRecorder, Tell, TrainingCurves
from training.steps.runner import descent_over, follow
from training.steps.search import StudentSearch, written

_CLAIM, _LESSON = "claim.json", "lesson.safetensors"


def _device(asked: DevicesSection) -> TorchDevice:
    """Raises RECIPE_INVALID where it is not there."""
    try:
        return select_device("devices", asked.device, asked.fallback, torch)
    except ConfigError as error:
        raise SealgateError(Reason.RECIPE_INVALID, str(error)) from error


class RecipeRun:
    """Runs one recipe in one folder."""

    def __init__(self, path: Path, out: Path, tell: Tell) -> None:
        """Raises RECIPE_INVALID, also for a device that is not there."""
        self._recipe = Recipe.read(path)
        self._device = _device(self._recipe.devices)
        self._digest = sha256(path.read_bytes())
        self._out, self._run = out, out / "run"
        self._tell = tell

    def make(self) -> FinishedRun:
        """Raises what the module's parts raise, and RUN_FOREIGN; see docs/how-to/training.md."""
        torch.set_num_threads(1)
        # 1.
        material = RunData.cut(self._read(), self._recipe.data, self._recipe.alarms.label)
        check(material, self._recipe.alarms)
        with held(self._out):
            return self._follow(material)

    def _follow(self, material: RunData) -> FinishedRun:
        asked = self._recipe
        began = self._claim(material)
        if (self._out / "model").exists():
            shutil.rmtree(self._run)
            self._tell("finished", "this recipe has been followed already")
            return FinishedRun.read(self._out)
        if self._device.place != CPU:
            self._tell("device", self._device.said)
        # 2.
        corpus, parents = self._corpus(material)
        # 3.
        found = None
        if asked.search.trials:
            record = self._run / "search.jsonl"
            found = StudentSearch(
                *(asked, material, corpus, record, self._tell), self._device.name
            ).find()
            asked = found.recipe(asked)
            write_whole(self._out / "student.toml", written(asked, self._out).encode())
        torch.manual_seed(asked.run.seed)
        student = students.make(asked.student, material.read, material.slices[TRAIN][0])
        if asked.student.path is not None:
            imported = checkpoints.read_imported(asked.student.path)
            parents = parents | {f"student {imported.origin}": imported.digest}
        privacy = self._steps(student, corpus, material)
        settled = settle(student, material, asked.alarms)
        # 4.
        self._tell("export", "both graphs")
        went_in = RunInputs(
            *(self._recipe, self._digest, material.read.files, parents, began, privacy),
            search=found.encode() if found is not None else None,
            alarms=asdict(settled) if settled is not None else None,
            certified=share_certified(student, material, asked.steps),
            device=self._device.said,
        )
        return finish(self._out, student, material, went_in)

    def _read(self) -> SourceRows:
        asked = self._recipe.data
        if asked.source not in (*recipe.OF_TEXT, recipe.PROSE):
            return sources.read_rows(asked, None)
        return sources.read_rows(asked, teachers.tokenizer_of(self._recipe))

    def _claim(self, material: RunData) -> str:
        """When the run in this folder began; RUN_FOREIGN where it is another's."""
        mine = claimed(self._recipe, self._digest, material.read, self._device.said)
        place = self._out / _CLAIM
        if not place.exists():
            if not is_bare(self._out, _CLAIM):
                raise SealgateError(Reason.RUN_FOREIGN, f"{self._out} is not empty")
            began = format_time(datetime.now(UTC))
            write_whole(place, canonical.encode(mine | {"began": began}))
            self._run.mkdir(mode=0o700)
            return began
        claim: dict[str, Any] = canonical.decode(place.read_bytes())
        began = str(claim.pop("began"))
        for what, digest in mine.items():
            if claim.get(what) != digest:
                raise SealgateError(
                    Reason.RUN_FOREIGN, f"{self._out} was begun with another {what}"
                )
        self._run.mkdir(mode=0o700, exist_ok=True)
        return began

    def _corpus(self, material: RunData) -> tuple[TaughtRows, dict[str, str]]:
        """The training rows, with what the teacher says of them; and the teacher's digests."""
        x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in material.slices[TRAIN])
        asked = self._recipe.teacher
        if self._recipe.student.kind == recipe.DECODER:
            return language.corpus(asked, material, self._device.name)
        if asked.kind == recipe.NOBODY:
            return TaughtRows(TrainingBatch(x, y)), {}
        kept, named = self._run / _LESSON, self._run / "parents.json"
        if not named.exists():
            lesson = teachers.teach(
                *(asked, material, self._recipe.run.seed),
                *(self._recipe.devices.teacher_megabytes, self._device.name),
            )
            told = {"logits": lesson.logits}
            if lesson.vectors is not None:
                told["vectors"] = lesson.vectors
            write_whole(kept, save({name: part.contiguous() for name, part in told.items()}))
            write_whole(named, canonical.encode(lesson.parents))
            self._tell("teacher", f"{len(x)} rows")
        told = load_file(kept)
        parents: dict[str, str] = canonical.decode(named.read_bytes())
        return TaughtRows(TrainingBatch(x, y, told["logits"], told.get("vectors"))), parents

    def _steps(
        self, student: nn.Module, corpus: TaughtRows, material: RunData
    ) -> Mapping[str, Any] | None:
        curves = TrainingCurves(self._out / "curves.jsonl")
        privacy: Mapping[str, Any] | None = None
        for number, step in enumerate(self._recipe.steps, 1):
            kept, spent = self._run / f"{number}.safetensors", self._run / f"{number}.json"
            if not kept.exists():
                keeping = CheckpointPlan(self._run / f"{number}", self._recipe.run.checkpoint_steps)
                watching = ProgressRecorder(number, step.kind, curves, material, self._tell)
                seed = self._recipe.run.seed + number
                train = descent_over(self._recipe.devices, watching)
                rows = given(step, corpus, material, self._recipe.alarms.label, seed)
                privacy = follow(
                    step, student, rows, seed, watching, keeping, train, self._device.name
                )
                write_whole(spent, canonical.encode(dict(privacy or {})))
                write_whole(kept, save(student.state_dict()))
                shutil.rmtree(keeping.folder, ignore_errors=True)
            student.load_state_dict(load_file(kept))
            privacy = canonical.decode(spent.read_bytes()) or None
        return privacy
