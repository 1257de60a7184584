"""The guard as it is published, marked and rounded, in an engine as a gateway has it."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy.stats import binomtest

from benchmarks.guard.prompts import Prompts
from gateway.screening.prompt_classifier import PromptClassifier, TextVersion, shown
from inference.engine.engine import Engine, RequestOptions
from inference.llm.request import SamplingRequest, said_in
from inference.text.text_windows import Windows, added
from sealgate.trust.policy import Consequence
from sealgate.trust.policy.answers import AnswerClassifierRules
from sealgate.trust.policy.screening import PromptClassifierRules
from tests.support.harness.gateway import GatewayHarness, running
from training.run.finishing import FinishedRun

Floats = npt.NDArray[np.float32]
Judge = Callable[[Sequence[str]], Floats]
"""From windows to the margin [n] by which each is of the class that is looked for."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A judge, less its threshold for a single window; for prompts of more windows the threshold is
    higher by what `by_windows` says, in hundredths.
    """

    judge: Judge
    by_windows: Mapping[int, int] = field(default_factory=dict)


class Margins:
    """Of whole prompts: the highest of their windows', less what the number of windows adds to the
    threshold. Above nothing, the guard alarms.
    """

    def __init__(self, settled: Settled, windows: Windows) -> None:
        self._judge = settled.judge
        self.by_windows = settled.by_windows
        self._windows = windows
        self._known: dict[str, float] = {}
        self._shown: dict[SamplingRequest, Sequence[str]] = {}

    def of(self, asked: Sequence[SamplingRequest]) -> Floats:
        """[n], of so many prompts."""
        texts = [self._cut(one) for one in asked]
        self._learn(chain(*texts))
        return np.array([self._of_one(each) for each in texts], np.float32)

    def _cut(self, one: SamplingRequest) -> Sequence[str]:
        if one not in self._shown:
            self._shown[one] = shown(said_in(one), self._windows)
        return self._shown[one]

    def _of_one(self, texts: Sequence[str]) -> float:
        highest = max((self._known[text] for text in texts), default=-np.inf)
        return highest - added(self.by_windows, len(texts)) / 100

    def of_windows(self, texts: Sequence[str]) -> Floats:
        """[n], of so many windows by themselves, each as if it were a whole prompt."""
        self._learn(texts)
        return np.array([self._known[text] for text in texts], np.float32)

    def _learn(self, texts: Iterable[str]) -> None:
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            self._known |= zip(new, map(float, self._judge(new)), strict=True)

    def row(self, prompts: Prompts) -> dict[str, Any]:
        """How many of a set the guard calls an injection."""
        name = "false_alarms" if prompts.clean else "found"
        row = {"prompts": prompts.name, **share(name, self.of(prompts.asked) > 0)}
        if prompts.singly:
            alone = np.array([(self.of(each) > 0).any() for each in prompts.singly])
            row |= share(f"singly_{name}", alone)
        return row


def share(name: str, called: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How many, and between what the share lies with 95% confidence (Clopper and Pearson)."""
    sure = binomtest(int(called.sum()), len(called)).proportion_ci(method="exact")
    return {
        name: float(called.mean()),
        f"{name}_of": len(called),
        f"{name}_between": [round(float(sure.low), 4), round(float(sure.high), 4)],
    }


def found_at(clean: Floats, injections: Floats, rate: float) -> float:
    """The share of injections above what so many of the clean prompts are above."""
    allowed = int(rate * len(clean))
    return float((injections > np.sort(clean)[len(clean) - 1 - allowed]).mean())


_SECONDS = 120.0
# Rows of a slice that publishing is given: it screens rows for minutes, and nothing that is
# measured here depends on how many.
_MOST = {"fit": 500, "calibration": 400, "test": 300}


class Published:
    """A live guard, asked as the gateway asks, and for its margins."""

    def __init__(self, engine: Engine, label: str, by_windows: Mapping[int, int]) -> None:
        (self._live,) = engine.live().values()
        if not isinstance(self._live.ready, TextVersion) or self._live.ready.tokenizer is None:
            raise SystemExit("it takes no texts")
        self._engine = engine
        self._gateway = PromptClassifier(engine)
        self._guard = PromptClassifierRules(
            *(self._live.digest, label, Consequence.BLOCK),
            by_windows=by_windows,
        )
        self._sought = self._live.config.labels.index(label)
        self._call: Any = SimpleNamespace(
            is_active=lambda: True, principal=SimpleNamespace(name="bench")
        )
        settled = Settled(self._judge, by_windows)
        self.margins = Margins(settled, Windows(self._live.ready.tokenizer))

    def alarms(self, asked: SamplingRequest) -> tuple[bool, float]:
        """Whether the gateway would act, and in how many milliseconds it knows."""
        until, begun = time.monotonic() + _SECONDS, time.perf_counter()
        found = bool(self._gateway.follows(self._guard, asked, until, self._call))
        return found, 1e3 * (time.perf_counter() - begun)

    @property
    def digest(self) -> str:
        return self._live.digest

    def reads_answers(self) -> Callable[[str], bool]:
        """A function that says whether it finds its class in an answer's text so far."""
        rules = AnswerClassifierRules(self._live.digest, self._guard.label, Consequence.FLAG)
        until = time.monotonic() + _SECONDS
        return self._gateway.of_answers(rules, until, self._call)

    def _judge(self, texts: Sequence[str]) -> Floats:
        config = self._live.config
        most, found = config.batching.max_rows, []
        for start in range(0, len(texts), most):
            rows = np.array([text.encode() for text in texts[start : start + most]], object)
            until = time.monotonic() + _SECONDS
            logits = self._engine.infer(self._live, rows, RequestOptions(until)).outputs[
                config.output.name
            ]
            others = np.delete(logits, self._sought, 1).max(1)
            found.append(logits[:, self._sought] - others)
        return np.concatenate(found)


@contextmanager
def published(made: FinishedRun, model: str, label: str) -> Iterator[Published]:
    """Published, approved and promoted in an installation of its own; its margin rises with the
    number of windows as its training found.
    """
    with TemporaryDirectory() as place, running(Path(place) / "state") as harness:
        data = Path(place) / "data.safetensors"
        save_file(_fewer(load_file(made.data)), data)
        words = ("model", "publish", str(made.model), "--data", str(data), "--seconds", "1800")
        told = harness.command(*words)
        if told.exit_code:
            raise SystemExit(told.output)
        yield Published(_promoted(harness, model), label, by_windows(made))


def by_windows(made: FinishedRun) -> dict[int, int]:
    """The amount that longer texts add to the threshold, as training settled it."""
    found = made.report.get("alarms", {}).get("by_windows", {})
    return {int(windows): raised for windows, raised in found.items()}


def _fewer(slices: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: rows[: _MOST.get(name[2:])] for name, rows in slices.items()}


def _promoted(harness: GatewayHarness, model: str) -> Engine:
    """An engine in which the version is live."""
    if harness.gateway is None:
        raise SystemExit("the gateway is gone")
    harness.governance("admin").promote(harness.approved(model, 1), "measured")
    end = time.monotonic() + _SECONDS
    while not harness.gateway.engine.live():
        if time.monotonic() > end:
            raise SystemExit("it never came up")
        time.sleep(0.2)
    return harness.gateway.engine
