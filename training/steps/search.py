"""Searches for a small student in the space of a recipe's `[search]`, under its budget.

1. Optuna's TPE (Bergstra et al., NIPS 2011) proposes, seeded by the recipe. The recipe's own
   student comes first if it is in the space. After a kill the record of trials is replayed, so the
   proposals are the same.
2. The student's serving graph is made with random weights, which change neither its size nor its
   time; if its weights alone are too large, it is not even made. A student that exceeds the budget
   is not trained, and counts as worse than all others.
3. The others are trained by the recipe's first step. The accuracy on the slice `fit` decides, and
   between equals the size.

With a budget in bytes alone, recipe and seed determine the result. Times are those of the machine,
and so is the result under a budget in milliseconds.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from inference.runtime import response_contract
from inference.runtime.settings import CPU
from inference.text import tokens
from sealgate.reasons import Reason, SealgateError
from training.data import TRAIN, Rows, RunData, append_line
from training.export.classifier import export_serving
from training.export.text import export_text_serving
from training.models import students
from training.recipe import recipe
from training.recipe.recipe import Recipe
from training.recipe.sections import SearchSection
from training.steps.descent import TaughtRows
from training.steps.progress import Tell
from training.steps.runner import follow

# Proposals, for each trial, until the sampler is taken to have no new ones.
_ASKED = 30
_MEASURED, _TIMES = 40, 5


@dataclass(frozen=True, slots=True)
class SearchTrial:
    """The size and time of a student with these settings, and its accuracy on the slice `fit`; None
    if it exceeds the budget, when the size may be that of the weights alone.
    """

    settings: Mapping[str, int]
    megabytes: float
    milliseconds: float | None
    accuracy: float | None

    @property
    def told(self) -> str:
        """For people."""
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        taken = "" if self.milliseconds is None else f", {self.milliseconds:.3f} ms"
        right = "over the budget" if self.accuracy is None else f"{self.accuracy:.1%} right"
        return f"{settings}: {self.megabytes:.3f} MB{taken}, {right}"


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials, in order, and the best one."""

    best: SearchTrial
    trials: tuple[SearchTrial, ...]

    def recipe(self, asked: Recipe) -> Recipe:
        """The same recipe with the found student, and nothing to look for."""
        return replace(asked, student=student(asked, self.best.settings), search=SearchSection())

    def encode(self) -> dict[str, Any]:
        return {"found": dict(self.best.settings), "trials": [asdict(one) for one in self.trials]}


class StudentSearch:
    """The search of one recipe; `record` is the file from which it continues."""

    def __init__(
        self,
        asked: Recipe,
        material: RunData,
        corpus: TaughtRows,
        record: Path,
        tell: Tell,
        device: str = CPU,
    ) -> None:
        """`device` is torch's name of where students are tried."""
        self._asked, self._material, self._corpus = asked, material, corpus
        self._record, self._tell, self._device = record, tell, device

    def find(self) -> SearchResult:
        """Raises RECIPE_INVALID where no student that was tried is within the budget."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        search = self._asked.search
        choices, count = search.choices, len(list(search.students()))
        # 1.
        sampler = optuna.samplers.TPESampler(seed=self._asked.run.seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        own = {name: getattr(self._asked.student, name) for name in choices}
        if all(own[name] in values for name, values in choices.items()):
            study.enqueue_trial({name: choices[name].index(own[name]) for name in choices})
        known, tried = self._known(), dict[tuple[int, ...], SearchTrial]()
        for _ in range(_ASKED * search.trials):
            if len(tried) == min(search.trials, count):
                break
            proposed = study.ask()
            settings = {
                name: values[proposed.suggest_int(name, 0, len(values) - 1)]
                for name, values in choices.items()
            }
            key = tuple(settings.values())
            if key not in tried:
                tried[key] = known.get(key) or self._try(settings)
                self._tell("search", f"{len(tried)}/{search.trials}: {tried[key].told}")
            study.tell(proposed, worth(tried[key], search))
        return _found(tuple(tried.values()), search)

    def _try(self, settings: dict[str, int]) -> SearchTrial:
        asked, material = self._asked, self._material
        search, seed = asked.search, asked.run.seed
        torch.manual_seed(seed)
        net = students.make(student(asked, settings), material.read, material.slices[TRAIN][0])
        # 2.
        trial = SearchTrial(settings, _megabytes(_weights(net), material), None, None)
        if not search.megabytes or _over(trial, search) <= 0:
            graph = serving(net, material)
            takes = milliseconds(graph, material.slices["fit"][0]) if search.milliseconds else None
            trial = SearchTrial(settings, _megabytes(len(graph), material), takes, None)
            if _over(trial, search) <= 0:
                # 3.
                trial = replace(trial, accuracy=self.train(net, seed))
        append_line(self._record, json.dumps(asdict(trial)))
        return trial

    def train(self, net: nn.Module, seed: int) -> float:
        step = self._asked.steps[0]
        step = replace(step, epochs=self._asked.search.epochs or step.epochs)
        try:
            follow(
                *(step, net.train(), self._corpus, seed + 1, lambda _: lambda _: None, None),
                device=self._device,
            )
        except SealgateError as refusal:
            if refusal.reason is not Reason.LOSS_NOT_FINITE:
                raise
            return 0.0
        x, y = (torch.from_numpy(np.ascontiguousarray(p)) for p in self._material.slices["fit"])
        return students.accuracy(net, x, y)

    def _known(self) -> dict[tuple[int, ...], SearchTrial]:
        found = {}
        for line in self._record.read_text().splitlines() if self._record.exists() else ():
            try:
                trial = SearchTrial(**json.loads(line))
            except (ValueError, TypeError):
                # The line that a kill cut short.
                continue
            found[tuple(trial.settings.values())] = trial
        return found


def student(asked: Recipe, settings: Mapping[str, Any]) -> recipe.StudentSection:
    """The recipe's student with other settings."""
    return replace(asked.student, **settings)


def worth(trial: SearchTrial, search: SearchSection) -> float:
    """The sampler's objective: the accuracy, or by how much the budget is exceeded, negative."""
    return -_over(trial, search) if trial.accuracy is None else trial.accuracy


def _over(trial: SearchTrial, search: SearchSection) -> float:
    """By what share the budget is exceeded; not above 0 within it."""
    shares = [trial.megabytes / search.megabytes] if search.megabytes else []
    if trial.milliseconds is not None:
        shares.append(trial.milliseconds / search.milliseconds)
    return max(shares) - 1


def _found(trials: tuple[SearchTrial, ...], search: SearchSection) -> SearchResult:
    within = [trial for trial in trials if trial.accuracy is not None]
    if not within:
        least = min(trials, key=lambda trial: _over(trial, search))
        raise SealgateError(Reason.RECIPE_INVALID, f"no student is within the budget; {least.told}")
    return SearchResult(max(within, key=lambda trial: (trial.accuracy, -trial.megabytes)), trials)


def _weights(net: nn.Module) -> int:
    """Bytes of the parameters."""
    return sum(each.numel() * each.element_size() for each in net.parameters())


def _megabytes(graph: int, material: RunData) -> float:
    return (graph + len(material.read.tokenizer or b"")) / 1e6


def serving(net: nn.Module, material: RunData) -> bytes:
    """The student's serving graph."""
    net.eval()
    if material.read.tokenizer is not None:
        return export_text_serving(net)
    return export_serving(net, material.read.x.shape[1:])


def milliseconds(graph: bytes, rows: Rows) -> float:
    """CPU time of one row on one core: the least, over some rounds, of the median of the rows."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feeds = [
        tokens.feeds(row[row >= 0][None])
        if row.dtype == np.int64
        else {response_contract.X: row[None]}
        for row in rows[:_MEASURED]
    ]
    rounds = []
    for _ in range(_TIMES):
        times = []
        for fed in feeds:
            began = time.process_time_ns()
            session.run(None, fed)
            times.append(time.process_time_ns() - began)
        rounds.append(float(np.median(times)) / 1e6)
    return min(rounds)


def written(asked: Recipe, folder: Path) -> str:
    """The recipe as TOML, for a file in `folder`, without what the defaults say."""
    lines: list[str] = []
    for item in fields(asked):
        value = getattr(asked, item.name)
        for part in value if isinstance(value, tuple) else (value,):
            settings = [
                f"{name.name} = {_toml(getattr(part, name.name), folder)}"
                for name in fields(part)
                if name.default is MISSING or getattr(part, name.name) != name.default
            ]
            head = f"[[{item.name}]]" if isinstance(value, tuple) else f"[{item.name}]"
            lines += [head, *settings, ""] if settings else []
    return "\n".join(lines)


def _toml(value: Any, folder: Path) -> str:
    if isinstance(value, Path):
        value = os.path.relpath(value, folder)
    if isinstance(value, tuple):
        value = list(value)
    # Texts, numbers, lists of them and truth are written alike in both.
    return json.dumps(value, ensure_ascii=False)
