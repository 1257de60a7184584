"""`make bench NAME=twins`: rows that turn INT8 and not float32, as they are served.

Each version is made by publishing's own steps. On the way to an attack the first row is looked for
that INT8 answers otherwise, of texts also beside it (`turned_texts`); those that float32 answers as
before are sent to the version as a gateway loads it. Counted is which class leaves. Writes
results/twins.json.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import Row, Target, finish, show
from benchmarks.screening.sources import FASHION
from benchmarks.screening.subjects import DOMAIN, PLAIN, STEP, subject
from benchmarks.screening.turned_texts import turned_alone
from inference.engine import version_contents
from inference.engine.ready_version import ReadyVersion
from inference.model.config import Batching, ModelConfig, TrainingDataInfo
from inference.model.request_tensors import TensorSpec
from inference.runtime.settings import CpuSettings
from publishing.attacks.probe import Probe
from publishing.attacks.text_probe import TextProbe
from publishing.source.dataset import Dataset, DataSlice
from publishing.source.folder import SourceFolder
from publishing.worker_tasks import trial
from publishing.worker_tasks.forward import ResponseGraph, ServingGraph
from publishing.worker_tasks.trial_request import TrialRequest
from training.export.classifier import export_response, export_serving

DEMO = Path(__file__).parents[2] / "demo"
LEAST = 300
"""So many rows of each data set are to be turned in INT8 alone."""
_EMAILS = Path("build/bench/spam-32/spam")
_WAYS = ("pgd-0.2", "fgsm-0.3", "pgd-0.3")
_TURNS, _TEXTS = 200, 600


@dataclass(frozen=True, slots=True)
class Attacked:
    """A version to be made, and the rows from which attacks begin."""

    title: str
    request: TrialRequest
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
    """The demo's models; then Fashion-MNIST and e-mails, for which see `_fashion` and `_emails`."""
    for name in ("digits-standard", "digits-hardened", "breast-cancer"):
        source = SourceFolder.read(DEMO / "models" / name)
        data = Dataset.read(DEMO / "data" / f"{source.config.name}.safetensors")
        request = TrialRequest(
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
    for make in (_fashion, _emails):
        if (made := make()) is not None:
            yield made


def _emails() -> Attacked | None:
    """MiniLM with a head for e-mails of 32 tokens, where `make bench NAME=serve` has made it. Which
    class leaves does not depend on thresholds, so few rows set them.
    """
    if not _EMAILS.with_suffix(".safetensors").exists():
        return None
    data, source = Dataset.read(_EMAILS.with_suffix(".safetensors")), SourceFolder.read(_EMAILS)
    fit, limits, test = (
        DataSlice(part.x[:most], part.y[:most])
        for part, most in ((data.fit, 64), (data.calibration, 64), (data.test, 32))
    )
    graphs = source.serving, source.serving, source.response
    rows = data.calibration.x[64 : 64 + _TEXTS]
    request = TrialRequest(source.config, *graphs, fit, limits, test, seed=0, first_stage=False)
    return Attacked("e-mails", request, rows)


def _fashion() -> Attacked | None:
    try:
        trained = subject(FASHION, PLAIN, 0)
    except FileNotFoundError:
        return None
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
    request = TrialRequest(
        config, serving, serving, response, fit, limits, test, seed=0, first_stage=False
    )
    return Attacked("fashion-mnist", request, test.x)


def measure(attacked: Attacked) -> Row:
    files = attacked.files()
    config, x, response = attacked.request.config, attacked.x, files[version_contents.RESPONSE]
    int8, float32 = (
        _answering(files[name], config) for name in (version_contents.INT8, version_contents.FP32)
    )
    if config.tokens is None:
        turned = _turned_alone(Probe.of(ResponseGraph.of(response), config), x, int8)
    else:
        probe = TextProbe.of(response, config, config.tokens, x)
        turned = turned_alone(probe, x, int8, float32, np.random.default_rng(0))
    ready = ReadyVersion.build("", files, CpuSettings(1))
    left = classes(ready, turned)
    return {
        "data": attacked.title,
        "clean_rows": len(x),
        "clean_rows_that_disagree": round(float(np.mean(int8(x) != float32(x))), 4),
        "turned_in_int8_alone": len(turned),
        "left_with_the_int8_class": int(np.sum(left == int8(turned))),
        "us_a_row_clean": _cost(ready, x[: len(turned)]),
        "us_a_row_turned": _cost(ready, turned),
    }


def _answering(graph: bytes, config: ModelConfig) -> Callable[[np.ndarray], np.ndarray]:
    model = ServingGraph.of(graph, config)
    return lambda rows: np.asarray(model.logits(rows).argmax(axis=1), np.int64)


def _turned_alone(
    probe: Probe, x: np.ndarray, int8: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Rows of numbers that were made of x and turn INT8 alone."""
    made = probe.attacks(x, np.random.default_rng(0))
    found = [probe.nearest(x, moved, int8) for name, moved in made if name in _WAYS]
    rows, start = np.concatenate(found), np.concatenate([x] * len(found))
    alone = int8(rows) != int8(start)
    return rows[alone & (probe.answers(rows) == probe.answers(start))]


def classes(ready: ReadyVersion, rows: np.ndarray) -> np.ndarray:
    """The classes that leave, of rows in batches of the largest size."""
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
    found = list(subjects())
    rows = [measure(attacked) for attacked in found]
    missing = {"Fashion-MNIST": "fashion-mnist", "e-mails": "e-mails"}
    titles = {attacked.title for attacked in found}
    notes = {name: "not made" for name, title in missing.items() if title not in titles}
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
