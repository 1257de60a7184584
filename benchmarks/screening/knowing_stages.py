"""Attackers who know both stages: numbers by gradients, texts by trying exchanges of words.

A row passes where it is turned and either the first stage lets it through or the response graph
scores it low. So two walks start from each row: one down the first stage's score, one down the
graph's; whichever ends lower under the joined score counts. Beside it stands the attacker of the
response graph alone, who is given the walks of both.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper

from benchmarks.screening.cases import Case
from benchmarks.screening.knowing import respond, torch_score
from benchmarks.screening.sources import Rows
from benchmarks.screening.subjects import TorchSession
from benchmarks.screening.texts.knowing import WEIGHTS, Knowing
from inference.screening.detector import Detector
from inference.screening.first_stage import FEATURES, ClassProjection, ClassProjections, FirstStage
from publishing.calibration.probe import Array
from publishing.calibration.served_rows import StagedProber
from publishing.calibration.text_probe import TextProbe, inner
from training.demo.mlp import rebuild
from training.export.reference import CleanReference
from training.export.response import leader, margin

Floats = npt.NDArray[np.float64]
Aim = Callable[[Rows], Floats]
RESTARTS, STEPS = 5, 200
SIZE = 0.2
ROUNDS, WIDTH, SHARE = 5, 4, 0.4
_FIRST_STEP, _LAST_STEP = 0.25, 0.01
_TINY = 1e-6


def by_gradient(case: Case, detector: Detector, staged: bool, rows: Rows) -> Floats:
    """The least score that each of the rows [n, D] is turned at; infinite where it is not turned.

    With `staged` the detector's own, else that of the response graph alone. The walks follow the
    float32 network; what they end at is measured as a version measures it.
    """
    stage = detector.first
    if stage is None:
        raise ValueError("a detector of two stages")
    model = onnx.load_model_from_string(case.source.response)
    session = TorchSession(rebuild(model), _reference(model))
    probe = StagedProber(case.prober, case.vectors, stage)
    own = case.prober.answers(rows)
    least = np.full(len(rows), np.inf)
    for first in (True, False) if staged else (False, False):
        for moved in _walk(case, session, detector, stage, rows, own, first):
            logits, features = probe.measure(moved)
            scores = detector.scores(features) if staged else detector.graph_scores(features)
            turned = logits.argmax(axis=1) != own
            least = np.where(turned, np.minimum(least, scores), least)
    return least


def _walk(
    case: Case,
    session: TorchSession,
    detector: Detector,
    stage: FirstStage,
    rows: Rows,
    own: Array,
    first: bool,
) -> list[Rows]:
    """Of each restart the rows that were turned and scored least."""
    generator = torch.Generator().manual_seed(int(first))
    start, label = torch.from_numpy(rows), torch.from_numpy(own)
    weight = torch.from_numpy(case.vectors.weight)
    low, high = (start - SIZE).clamp(0, 1), (start + SIZE).clamp(0, 1)
    found = []
    for restart in range(RESTARTS):
        drawn = low + torch.rand(low.shape, generator=generator) * (high - low)
        moved = drawn if restart else start
        best, least = moved, torch.full((len(rows),), torch.inf, dtype=torch.float64)
        for size in np.geomspace(_FIRST_STEP, _LAST_STEP, STEPS):
            here = moved.clone().requires_grad_(True)
            logits, measured, hidden = respond(session, here, case.config.eps)
            score = torch_score(detector, measured)
            if first:
                read = _read(stage.readings, here, logits, hidden, weight)
                score = torch_score(stage.scoring, read)
            turned = logits.argmax(1) != label
            better = turned & (score < least)
            best = torch.where(better[:, None], here.detach(), best)
            least = torch.where(better, score.detach(), least)
            true = torch.arange(logits.shape[1]) == label[:, None]
            loss = torch.where(turned, score, margin(logits, true).double()).sum()
            (slope,) = torch.autograd.grad(loss, here)
            moved = (moved - float(size) * SIZE * slope.sign()).clamp(low, high)
        found.append(best.numpy())
    return found


def _reference(model: onnx.ModelProto) -> CleanReference:
    """That of a response graph, from its constants."""
    state = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in model.graph.initializer
        if tensor.name.startswith("reference.")
    }
    return CleanReference.of(state)


def _read(
    readings: ClassProjections,
    x: torch.Tensor,
    logits: torch.Tensor,
    hidden: torch.Tensor,
    weight: torch.Tensor,
) -> torch.Tensor:
    """`ClassProjections.features`, with slopes."""
    own = logits.argmax(1)
    mark = torch.arange(logits.shape[1]) == own[:, None]
    others = torch.where(mark, -torch.inf, logits).argmax(1)
    lead = margin(logits, mark)
    gradient = weight[own] - weight[others]
    found = (
        lead,
        lead / (gradient.abs().sum(1) + _TINY),
        leader(logits, mark) - logits.mean(1),
        logits.logsumexp(1) - leader(logits, mark),
        (hidden * gradient.sign()).mean(1),
        *_distances(readings.vectors, hidden, mark),
        *_distances(readings.inputs, x, mark),
    )
    return torch.stack(found, 1)


def _distances(
    reading: ClassProjection, rows: torch.Tensor, mark: torch.Tensor
) -> tuple[torch.Tensor, ...]:
    basis = torch.tensor(reading.basis).reshape(reading.size, -1)
    centered = rows - torch.tensor(reading.mean)
    z = centered @ basis
    whitening = torch.tensor(reading.whitening).reshape(basis.shape[1], -1)
    white = z @ whitening - torch.tensor(reading.center)
    squares = (white * white).unflatten(1, (reading.classes, -1)).sum(-1)
    near = torch.where(mark, squares, 0.0).sum(1)
    other = torch.where(mark, torch.inf, squares).amin(1)
    rest = (centered * centered).sum(1) - (z * z).sum(1)
    return (
        near.log1p(),
        other.log1p(),
        (near - other) / (near + other + _TINY).sqrt(),
        (rest.clamp(min=0) + _TINY).sqrt(),
    )


def by_search(case: Case, detector: Detector, staged: bool, x: Array) -> Floats:
    """The same for texts x [n, s]. A walk begins where HotFlip turned the text, by the model alone
    or by what the words say too, whichever is best; at each step it tries some exchanges of up to
    two words, of which the best that keeps the text turned is taken; no more than SHARE of its
    words are changed in all.
    """
    stage, probe = detector.first, case.prober
    if stage is None or not isinstance(probe, TextProbe):
        raise ValueError("a text model's detector of two stages")
    starts = list(_starts(case, probe, x))
    measuring = StagedProber(probe, case.vectors, stage)
    own = probe.answers(x)

    def joined(features: Rows) -> Floats:
        return detector.scores(features) if staged else detector.graph_scores(features)

    def first(features: Rows) -> Floats:
        return stage.beyond(features[:, :FEATURES])

    aims = (first, detector.graph_scores) if staged else (joined, joined)
    ends = [
        _searched(measuring, x, starts, own, aim, joined, np.random.default_rng(seed))
        for seed, aim in enumerate(aims)
    ]
    return np.minimum(*ends)


def _starts(case: Case, probe: TextProbe, x: Array) -> Iterator[Array]:
    """What HotFlip makes of texts where it stops as they turn."""
    walkers, words = [probe], case.vectors.tapped.words
    if words is not None:
        walkers += [Knowing.beside(probe, words.votes, weight) for weight in WEIGHTS]
    for walker in walkers:
        *_, (_, moved) = walker.attacks(x, np.random.default_rng(0))
        yield moved


def _best(
    probe: StagedProber, starts: Sequence[Array], own: Array, aim: Aim, score: Aim
) -> tuple[Array, Floats, Floats]:
    """Of each text the start that is turned and scores least under the aim, with that score; and
    the least score that a start has.
    """
    best = starts[0].copy()
    value, least = np.full(len(best), np.inf), np.full(len(best), np.inf)
    for start in starts:
        logits, features = probe.measure(start)
        turned = logits.argmax(axis=1) != own
        found = np.where(turned, aim(features), np.inf)
        best[found < value] = start[found < value]
        value = np.minimum(value, found)
        least = np.minimum(least, np.where(turned, score(features), np.inf))
    return best, value, least


def _searched(
    probe: StagedProber,
    x: Array,
    starts: Sequence[Array],
    own: Array,
    aim: Aim,
    score: Aim,
    draw: np.random.Generator,
) -> Floats:
    stock = probe.prober.stock if isinstance(probe.prober, TextProbe) else np.empty(0, np.int64)
    best, value, least = _best(probe, starts, own, aim, score)
    most = np.maximum(1, np.rint(SHARE * inner(x).sum(axis=1))).astype(int)
    for _ in range(ROUNDS):
        tried = np.repeat(best, WIDTH, axis=0)
        order = np.where(inner(tried), draw.random(tried.shape), -1)
        chosen = np.argsort(-order, axis=1)[:, :2]
        np.put_along_axis(tried, chosen, draw.choice(stock, chosen.shape), axis=1)
        allowed = (tried != np.repeat(x, WIDTH, axis=0)).sum(axis=1) <= np.repeat(most, WIDTH)
        logits, features = probe.measure(tried)
        turned = allowed & (logits.argmax(axis=1) != np.repeat(own, WIDTH))
        values, scores = (
            np.where(turned, each(features), np.inf).reshape(-1, WIDTH) for each in (aim, score)
        )
        least = np.minimum(least, scores.min(axis=1))
        place = values.argmin(axis=1)
        better = values.min(axis=1) < value
        best[better] = tried.reshape(len(x), WIDTH, -1)[np.arange(len(x)), place][better]
        value = np.minimum(value, values.min(axis=1))
    return least
