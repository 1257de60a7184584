"""Draws ROC curves, and how a row's lead moves along its gradient's sign."""

from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import torch

from benchmarks.screening.attacks import ATTACKS, made
from benchmarks.screening.sources import Rows
from benchmarks.screening.subjects import Subject
from training.export.response import margin

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

_SHOWN = {
    "FGSM": "#084594",
    "PGD-40": "#4292c6",
    "DeepFool": "#e6550d",
    "CW, κ = 5": "#fdae6b",
    "Square": "#41ab5d",
}
_CLEAN, _NOISE = "#252525", "#969696"
_REACH = 0.12
Floats = npt.NDArray[np.float64]


def draw(subject: Subject, path: Path) -> None:
    """Both plots of one subject."""
    figure, (curves, responses) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    turned = {each.name: _turned(subject, each.name) for each in ATTACKS if each.name in _SHOWN}
    x = subject.slices["test"][0]
    noise = np.where(np.random.default_rng(0).random(x.shape) < 0.5, -1, 1) * subject.unit
    noisy = np.clip(x + noise, 0, 1).astype(np.float32)
    _rocs(curves, subject, x, noisy, turned)
    _responses(responses, subject, x, noisy, turned)
    for axis in (curves, responses):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(linewidth=0.3)
    figure.suptitle(f"{subject.source.title}, {subject.model} model", fontsize="medium")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _turned(subject: Subject, name: str) -> Rows:
    (attack,) = (each for each in ATTACKS if each.name == name)
    _, after, classes = made(subject, attack)
    found: Rows = after[subject.probe.answers(after) != classes]
    return found


def _rocs(axis: Axes, subject: Subject, x: Rows, noisy: Rows, turned: dict[str, Rows]) -> None:
    (detector,) = subject.detectors()
    clean, *others = (
        np.sort(detector.scores(subject.probe.measure(rows)[1]))
        for rows in (x, noisy, *turned.values())
    )
    rates = np.arange(len(clean) + 1) / len(clean)
    limits = np.concatenate([clean[::-1], [-np.inf]])
    colors = (_NOISE, *(_SHOWN[name] for name in turned))
    for name, color, scores in zip(("noise as large", *turned), colors, others, strict=True):
        caught = [float(np.mean(scores > limit)) for limit in limits]
        axis.step(np.maximum(rates, 0.5 / len(clean)), caught, color=color, label=name, lw=1.3)
    axis.set_xscale("log")
    axis.set_xlabel("share of clean rows above the threshold")
    axis.set_ylabel("share above it")
    axis.legend(fontsize="small", frameon=False, loc="lower right")


def _responses(axis: Axes, subject: Subject, x: Rows, noisy: Rows, turned: dict[str, Rows]) -> None:
    steps = np.linspace(-_REACH, _REACH, 25)
    shown = {"clean": (x, _CLEAN), "noise as large": (noisy, _NOISE)}
    shown |= {name: (rows, _SHOWN[name]) for name, rows in turned.items()}
    for name, (rows, color) in shown.items():
        leads = _leads(subject, rows, steps)
        axis.plot(steps, np.median(leads, axis=1), color=color, label=name, lw=1.3)
        if name in ("clean", "PGD-40"):
            low, high = np.quantile(leads, [0.25, 0.75], axis=1)
            axis.fill_between(steps, low, high, color=color, alpha=0.12, lw=0)
    # The other colors are those of the first plot.
    axis.legend(handles=axis.lines[:1], fontsize="small", frameon=False, loc="lower right")
    axis.set_xlabel("step along the sign of the lead's gradient")
    axis.set_ylabel("lead of the class answered (median)")


def _leads(subject: Subject, x: Rows, steps: Floats) -> Floats:
    """The lead [steps, n] of each row's own answer behind each step."""
    here = torch.from_numpy(x).requires_grad_(True)
    logits = subject.module(here)
    own = torch.arange(logits.shape[1]) == logits.argmax(1)[:, None]
    (slope,) = torch.autograd.grad(margin(logits, own).sum(), here)
    with torch.no_grad():
        moved = [(here + float(step) * slope.sign()).clamp(0, 1) for step in steps]
        return np.stack([margin(subject.module(rows), own).numpy() for rows in moved])
