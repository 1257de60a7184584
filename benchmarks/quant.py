"""`make bench NAME=quant`: INT8 beside fp32, on one thread: speed, size, accuracy.

Two models: the demo's digits MLP, quantized as `model publish` does it, and the text encoder
MiniLM-L6 (`peers/minilm.py`), whose vectors a linear head turns into a verdict on prompts; the head
is fitted to the fp32 vectors of training texts and judges test texts that are not among them. Forms
alternate in rounds; the speed is the ratio of CPU times within a round. Writes results/quant.json.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file

from benchmarks.figures import Spread, ratio
from benchmarks.report import Target, write_report
from benchmarks.served import minilm_folder
from demo.materials import DATA, MODELS
from publishing.quantization import quantize

Array = npt.NDArray[Any]

_BATCHES = (1, 8, 32)
_FP32 = "fp32"
# The form that is published; dynamic INT8 is only shown beside it.
_OURS = "static INT8"
_BATCH = 32
_RIDGE = 1.0
_SPEEDUP, _LOSS = 2.3, 0.5
_WHY = {
    "MiniLM: static INT8 over fp32, batch 32": "static QDQ converts between its integer products; "
    "dynamic INT8 is faster, but its answers change with the batch they sit in",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A model in several forms, its test inputs, and how right a form's answers to them are."""

    name: str
    forms: Mapping[str, bytes]
    inputs: Mapping[str, Array]
    note: str

    def session(self, form: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(
            self.forms[form], options, providers=["CPUExecutionProvider"]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each form in each round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows, targets, notes = [], [], {}
    digits, right = _digits()
    rows += _rows(digits, right, arguments.seconds, arguments.rounds)
    folder = minilm_folder()
    if isinstance(folder, str):
        notes["MiniLM"] = folder
    else:
        encoder, right = _minilm(folder)
        rows += _rows(encoder, right, arguments.seconds, arguments.rounds)
        # The digits MLP is too small for its arithmetic to matter, so only the encoder has to win.
        row = next(row for row in rows if row["model"] == "MiniLM" and row["form"] == _OURS)
        targets.append(
            _aim(
                "MiniLM: static INT8 over fp32, batch 32", row["speedup"]["32"]["median"], _SPEEDUP
            )
        )
    targets += [
        Target(f"{row['model']}: points of accuracy lost by {row['form']}", row["loss"], _LOSS)
        for row in rows
        if row["form"] == _OURS
    ]
    _show(rows, targets, notes)
    write_report("quant", rows, targets, not_measured=notes)


def _digits() -> tuple[Subject, dict[str, float]]:
    data = load_file(DATA / "digits.safetensors")
    fp32 = (MODELS / "digits-1" / "serving.onnx").read_bytes()
    int8 = quantize(fp32, "x", data["x_fit"].astype(np.float32))
    rows = {"x": data["x_test"].astype(np.float32)}
    note = "so small that calling ONNX Runtime takes most of the time"
    subject = Subject("digits MLP", {_FP32: fp32, _OURS: int8}, rows, note)
    right = {
        form: float(np.mean(_outputs(subject, form, rows).argmax(axis=1) == data["y_test"]))
        for form in subject.forms
    }
    return subject, right


def _minilm(folder: Path) -> tuple[Subject, dict[str, float]]:
    data = dict(np.load(folder / "rows.npz"))
    seen = {row.tobytes() for row in data["train_ids"]}
    new = np.array([row.tobytes() not in seen for row in data["test_ids"]])
    train, test = (
        {"input_ids": data[f"{part}_ids"][keep], "attention_mask": data[f"{part}_mask"][keep]}
        for part, keep in (("train", slice(None)), ("test", new))
    )
    forms = {
        name: (folder / file).read_bytes()
        for name, file in (
            (_FP32, "fp32.onnx"),
            (_OURS, "static.onnx"),
            ("dynamic INT8", "dynamic.onnx"),
        )
    }
    note = f"{int(new.sum())} test prompts; a linear head on the vectors tells injections"
    subject = Subject("MiniLM", forms, test, note)
    head = _fit(_outputs(subject, _FP32, train), data["train_labels"])
    labels = data["test_labels"][new]
    right = {
        form: float(np.mean((_with_one(_outputs(subject, form, test)) @ head > 0.5) == labels))
        for form in forms
    }
    return subject, right


def _fit(vectors: Array, labels: Array) -> Array:
    """A ridge regression of the labels 0 and 1, in closed form."""
    x = _with_one(vectors).astype(np.float64)
    head: Array = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ labels)
    return head


def _with_one(vectors: Array) -> Array:
    return np.hstack([vectors, np.ones((len(vectors), 1), vectors.dtype)])


def _outputs(subject: Subject, form: str, inputs: Mapping[str, Array]) -> Array:
    session = subject.session(form)
    count = len(next(iter(inputs.values())))
    parts = [
        session.run(None, {name: x[start : start + _BATCH] for name, x in inputs.items()})[0]
        for start in range(0, count, _BATCH)
    ]
    return np.concatenate(parts)


def _rows(
    subject: Subject, right: Mapping[str, float], seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """A row for each form: size, accuracy, CPU-milliseconds a row and the gain by batch size."""
    sessions = {form: subject.session(form) for form in subject.forms}
    times: dict[tuple[str, int], list[float]] = {}
    share = seconds / len(_BATCHES)
    for _ in range(rounds):
        for batch in _BATCHES:
            for form, session in sessions.items():
                times.setdefault((form, batch), []).append(
                    _cpu_ms(session, subject.inputs, batch, share)
                )
    return [
        {
            "model": subject.name,
            "form": form,
            "note": subject.note,
            "bytes": len(subject.forms[form]),
            "smaller": len(subject.forms[_FP32]) / len(subject.forms[form]),
            "accuracy": right[form],
            "loss": 100 * (right[_FP32] - right[form]),
            "cpu_ms": {str(b): asdict(Spread.of(times[form, b])) for b in _BATCHES},
            "speedup": {str(b): asdict(ratio(times[_FP32, b], times[form, b])) for b in _BATCHES},
        }
        for form in subject.forms
    ]


def _cpu_ms(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, Array], batch: int, seconds: float
) -> float:
    """The median CPU time of a run of `batch` rows, in milliseconds."""
    count = len(next(iter(inputs.values()))) // batch
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        place = len(times) % count * batch
        feed = {name: array[place : place + batch] for name, array in inputs.items()}
        began = time.process_time()
        session.run(None, feed)
        times.append(time.process_time() - began)
    return 1000 * float(np.median(times))


def _aim(name: str, value: float, least: float) -> Target:
    aim = Target(name, value, least, least=True)
    return aim if aim.met else aim.because(_WHY.get(name, ""))


def _show(rows: list[dict[str, Any]], targets: list[Target], notes: Mapping[str, str]) -> None:
    console = Console(highlight=False)
    table = Table(title="INT8 beside fp32, one thread: CPU-ms a batch (gain)", title_justify="left")
    for name in ("model", "form", "MB", "accuracy", *(f"batch {batch}" for batch in _BATCHES)):
        table.add_column(name, justify="left" if name in ("model", "form") else "right")
    for row in rows:
        figures = [
            f"{row['cpu_ms'][b]['median']:.3f} ({row['speedup'][b]['median']:.2f}x)"
            for b in map(str, _BATCHES)
        ]
        table.add_row(
            row["model"],
            row["form"],
            f"{row['bytes'] / 1e6:.2f}",
            f"{row['accuracy']:.4f}",
            *figures,
        )
    console.print(table)
    for what, reason in notes.items():
        console.print(f"not measured: {what}: {reason}")
    for target in targets:
        console.print(target.line())


if __name__ == "__main__":
    main()
