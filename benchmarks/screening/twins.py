"""`make bench NAME=twins`: rows that turn INT8 and not float32, as they are served.

Each version is made by publishing's own steps. On the way to an attack the first row is looked for
that INT8 answers otherwise; those that float32 answers as before are sent to the version as a
gateway loads it. Counted is which class leaves. Writes results/twins.json.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import Row, Target, finish, show
from benchmarks.screening.sources import FASHION
from benchmarks.screening.subjects import DOMAIN, PLAIN, STEP, subject
from inference.engine import version_contents
from inference.engine.ready_version import ReadyVersion
from inference.model.config import Batching, ModelConfig, TrainingDataInfo
from inference.model.request_tensors import TensorSpec
from inference.runtime.settings import CpuSettings
from publishing.calibration.probe import Probe
from publishing.source.dataset import Dataset, DataSlice
from publishing.source.folder import SourceFolder
from publishing.worker_tasks import trial
from publishing.worker_tasks.forward import ResponseGraph, ServingGraph
from training.export.classifier import export_response, export_serving

DEMO = Path(__file__).parents[2] / "demo"
LEAST = 300
"""So many rows of each data set are to be turned in INT8 alone."""
_WAYS = ("pgd-0.2", "fgsm-0.3", "pgd-0.3")
_TURNS = 200


@dataclass(frozen=True, slots=True)
class Attacked:
    """A version to be made, and the rows from which attacks begin."""

    title: str
    request: trial.TrialRequest
    x: np.ndarray

    def files(self) -> dict[str, bytes]:
        """As publishing makes them, without a mark."""
        sent: list[bytes] = []
        trial.run(self.request.encode(), sent.append)
        int8, _, golden, detector, _ = sent
        asked = self.request
        return {
            version_contents.MODEL: asked.config.encode(),
            version_contents.INT8: int8,
            version_contents.FP32: asked.serving,
            version_contents.RESPONSE: asked.response,
            version_contents.DETECTOR: detector,
            version_contents.GOLDEN: golden,
        }


def subjects() -> Iterator[Attacked]:
    """The demo's models; then Fashion-MNIST, for which see `_fashion`."""
    for name in ("digits-1", "digits-2", "breast-cancer-1"):
        data = Dataset.read(DEMO / "data" / f"{name[:-2]}.safetensors")
        source = SourceFolder.read(DEMO / "models" / name)
        request = trial.TrialRequest(
            source.config,
            source.serving,
            source.serving,
            source.response,
            data.fit,
            data.calibration,
            data.test,
            seed=0,
        )
        slices = data.fit, data.calibration, data.test
        yield Attacked(name, request, np.concatenate([part.x for part in slices]))
    yield _fashion()


def _fashion() -> Attacked:
    """Raises FileNotFoundError where it is not."""
    trained = subject(FASHION, PLAIN, 0)
    row, classes = trained.slices["test"][0].shape[1:], trained.classes
    config = ModelConfig(
        name="fashion",
        description="a perceptron",
        intended_use="benchmarks",
        data=TrainingDataInfo("Fashion-MNIST", "MIT"),
        input=TensorSpec("x", "FP32", (-1, *row)),
        output=TensorSpec("logits", "FP32", (-1, classes)),
        labels=tuple(map(str, range(classes))),
        domain=DOMAIN,
        eps=STEP,
        batching=Batching(max_rows=64, delay_us=0, queue_rows=256),
    )
    serving = export_serving(trained.module, row)
    response = export_response(trained.module, row, trained.session.reference)
    fit, limits, test = (DataSlice(*trained.slices[n]) for n in ("fit", "calibration", "test"))
    request = trial.TrialRequest(
        config, serving, serving, response, fit, limits, test, seed=0, first_stage=False
    )
    return Attacked("fashion-mnist", request, test.x)


def measure(attacked: Attacked) -> Row:
    files = attacked.files()
    config = attacked.request.config
    probe = Probe.of(ResponseGraph.of(files[version_contents.RESPONSE]), config)
    int8 = ServingGraph.of(files[version_contents.INT8], config)

    def answers(rows: np.ndarray) -> np.ndarray:
        return np.asarray(int8.logits(rows).argmax(axis=1), np.int64)

    x, ready = attacked.x, ReadyVersion.build("", files, CpuSettings(1))
    made = probe.attacks(x, np.random.default_rng(0))
    found = [probe.nearest(x, moved, answers) for name, moved in made if name in _WAYS]
    rows, start = np.concatenate(found), np.concatenate([x] * len(found))
    alone = answers(rows) != answers(start)
    turned = rows[alone & (probe.answers(rows) == probe.answers(start))]
    left = classes(ready, turned)
    return {
        "data": attacked.title,
        "clean_rows": len(x),
        "clean_rows_that_disagree": round(float(np.mean(answers(x) != probe.answers(x))), 4),
        "turned_in_int8_alone": len(turned),
        "left_with_the_int8_class": int(np.sum(left == answers(turned))),
        "us_a_row_clean": _cost(ready, x[: len(turned)]),
        "us_a_row_turned": _cost(ready, turned),
    }


def classes(ready: ReadyVersion, rows: np.ndarray) -> np.ndarray:
    """What leaves, of rows in batches of the largest size."""
    most, name = ready.config.batching.max_rows, ready.config.output.name
    parts = [ready.submit(rows[at : at + most]) for at in range(0, len(rows), most)]
    return np.concatenate([part.outputs[name].argmax(axis=1) for part in parts])


def _cost(ready: ReadyVersion, rows: np.ndarray) -> float:
    """CPU-µs a row, in batches of 16 of these rows."""
    classes(ready, rows)
    began = time.process_time()
    for turn in range(_TURNS):
        at = 16 * turn % max(1, len(rows) - 16)
        ready.submit(rows[at : at + 16])
    return round((time.process_time() - began) / _TURNS / 16 * 1e6, 1)


def main() -> None:
    torch.set_num_threads(1)
    rows: list[Row] = []
    notes = {}
    try:
        rows += map(measure, subjects())
    except FileNotFoundError as error:
        notes["Fashion-MNIST"] = str(error)
    show(rows)
    targets = []
    for row in rows:
        what, data = row["turned_in_int8_alone"], row["data"]
        targets.append(Target(f"{data}: rows turned in INT8 alone", what, LEAST, True))
        value = row["left_with_the_int8_class"]
        targets.append(Target(f"{data}: rows that leave with the INT8 class", value, 0))
    finish("twins", rows, targets, notes)


if __name__ == "__main__":
    main()
