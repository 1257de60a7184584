"""Attacks a registered version, on the machine and data of an operator or approver.

The version's signed bytes are attacked in a worker. Attacks with its gradient are those of
`publishing.attacks.probe`, and on images those of `publishing.attacks.image_attacks`;
attacks that see only labels are those of `publishing.attacks.query_attacks`. For each, the
report says how often it changed the INT8 answer, which callers get, and how often screening's
verdict caught it. One attack searches for rows that change this answer and not the float32
model's, which screening measures (`publishing.calibration.served_rows`). For tables, attacks send
only what a caller could (`inference.model.columns`). The report does not cover an adaptive
attacker, who knows the detector and works around it: see `make bench NAME=screening`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from inference.engine import counted, version_contents
from inference.model.columns import RowRules, number
from inference.model.config import CLASSES, InputDomain, ModelConfig
from inference.model.decisions import Decision
from inference.screening.detector import Detector
from publishing.attacks import (
    Asking,
    Probe,
    Prober,
    ReportedProbe,
    hop_skip_jump,
    number_probe,
    square,
)
from publishing.calibration import (
    BorderProber,
    ServedProber,
    ServedVectors,
    StagedProber,
    report_of,
)
from publishing.serialization import pack_tensors, unpack_tensors
from publishing.worker_tasks.forward import ResponseGraph, ServingGraph, in_shape
from registry.sandbox import process
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields

Rows = npt.NDArray[np.float32]
Ends = float | npt.NDArray[np.float64]
TASK = f"{__name__}:run"
FILES = (
    version_contents.MODEL,
    version_contents.INT8,
    version_contents.FP32,
    version_contents.RESPONSE,
    version_contents.DETECTOR,
)
_ROWS, _PLAN = "rows", "plan"
_LARGEST_REPORT = 64 << 10
# The answers to a query attack: the victim's own class, or another.
_SAME, _OTHER = 0, 1
_CAUTIOUS = 0.1


@dataclass(frozen=True, slots=True)
class AttackPlan:
    """`victims`: how many rows are attacked by queries (0: nothing but the rows is measured),
    with at most `queries` each, moving by at most `eps` of the domain's width.
    """

    victims: int = 0
    queries: int = 0
    eps: float = _CAUTIOUS


def check_rows(config: ModelConfig, rows: Rows) -> Rows:
    """Return rows in the model's shape. Raises TENSOR_DATATYPE for a model of texts, TENSOR_SHAPE,
    TENSOR_RANGE.
    """
    rows = in_shape(config, rows)
    if not np.isfinite(rows).all() or rows.min() < config.domain.min:
        raise SealgateError(Reason.TENSOR_RANGE)
    if rows.max() > config.domain.max:
        raise SealgateError(Reason.TENSOR_RANGE)
    if config.table is not None:
        config.table.check(rows)
    return rows


def attack(
    files: Mapping[str, bytes], rows: Rows, plan: AttackPlan, confinement: Confinement
) -> dict[str, Any]:
    """The report of a version on rows [n, …] of its shape: names and numbers, nothing else.

    Raises SealgateError: as a graph is refused, and those of a worker.
    """
    words = canonical.encode(
        {"victims": plan.victims, "queries": plan.queries, "eps": float(plan.eps)}
    )
    needed = {path: files[path] for path in FILES}
    request = pack_tensors({**needed, _PLAN: words}, {_ROWS: rows})
    with process.start(TASK, request, confinement.limits, unsafe=confinement.unsafe) as worker:
        report = fields.mapping(canonical.decode(worker.receive(_LARGEST_REPORT)))
        worker.finish()
    _check_numbers(report)
    return report


def run(request: bytes, send: Callable[[bytes], None]) -> None:
    """In the worker: sends the report. Raises as `ResponseGraph.of` does."""
    asked = unpack_tensors(request)
    config = ModelConfig.decode(asked[version_contents.MODEL].tobytes())
    detector = Detector.decode(asked[version_contents.DETECTOR].tobytes())
    plan = AttackPlan(**canonical.decode(asked[_PLAN].tobytes()))
    walker = _walker(ResponseGraph.of(asked[version_contents.RESPONSE].tobytes()), config)
    int8 = asked[version_contents.INT8].tobytes()
    if detector.first is not None:
        words = counted(asked[version_contents.RESPONSE].tobytes(), config, detector.first)
        vectors = ServedVectors.of(int8, asked[version_contents.FP32].tobytes(), config, words)
        walker = StagedProber(walker, vectors, detector.first)
    compared = detector.disagreement is not None
    probe = ServedProber(
        walker,
        ServingGraph.of(int8, config),
        compared,
        detector.answers_float32,
        border=True,
        decision=config.decision,
        least_margin=detector.least_margin or np.inf,
    )
    draw = np.random.default_rng(0)
    report = report_of(probe, detector, asked[_ROWS], draw, config.decision)
    if plan.victims:
        about = config.domain, detector, config.table, config.decision, config.relative
        judged = AttackTarget(probe, *about)
        report["queries"] = dict(_queries(judged, asked[_ROWS], plan, draw))
    send(canonical.encode(report))


def _walker(graph: ResponseGraph, config: ModelConfig) -> BorderProber:
    found = number_probe(graph, config)
    if config.image is None or not isinstance(found, Probe):
        return found
    return ReportedProbe(found, config.image)


@dataclass(frozen=True, slots=True)
class AttackTarget:
    """A target of query attacks: a model, the judge of the rows that it is asked, and the rows of a
    table that can be sent. `relative`: a table's columns have ranges of their own.
    """

    probe: Prober
    domain: InputDomain
    detector: Detector
    columns: RowRules | None = None
    decision: Decision = CLASSES
    relative: bool = False

    def answer(self, row: Rows, own: Rows) -> tuple[bool, str]:
        """Whether a row [1, ...] is answered otherwise than by `own` [1, C], and the verdict on
        it.
        """
        logits, features = self.probe.measure(row)
        score = float(self.detector.scores(features)[0])
        return bool(self.decision.changed(own, logits)[0]), self.detector.verdict(score).value

    def changeable(self, row: Rows) -> Rows:
        """The part of a row [1, ...] that an attacker may change: numbers [d], the domain's ends 0
        and 1.
        """
        low, width = self._ends()
        return (((row - low) / width)[:, self._free(row)].ravel()).astype(np.float32)

    def sent(self, row: Rows, z: Rows) -> Rows:
        """The row [1, ...] with z [d] there, or as near as it can be sent on that way."""
        low, width = self._ends()
        asked, free = ((row - low) / width).astype(np.float32), self._free(row)
        asked[:, free] = z.reshape(asked[:, free].shape)
        moved = (asked * width + low).astype(np.float32)
        return moved if self.columns is None else self.columns.within(row, moved)

    def far(self, row: Rows, asked: Rows) -> float:
        """The most by which a place has moved, as a share of its range."""
        return float((np.abs(asked - row) / self._ends()[1]).max())

    def _ends(self) -> tuple[Ends, Ends]:
        """Where ranges begin, and how wide they are."""
        if self.relative and self.columns is not None:
            return self.columns.low, self.columns.span
        return self.domain.min, self.domain.max - self.domain.min

    def _free(self, row: Rows) -> npt.NDArray[np.bool_]:
        if self.columns is None:
            return np.ones(row.shape[1:], np.bool_)
        return self.columns.free


def _queries(
    judged: AttackTarget, rows: Rows, plan: AttackPlan, draw: np.random.Generator
) -> Iterator[tuple[str, dict[str, Any]]]:
    victims = [rows[at : at + 1] for at in range(min(len(rows), plan.victims))]
    answers = judged.probe.measure(rows[: plan.victims])[0]
    size = math.prod(rows.shape[1:])
    makers: dict[str, Callable[[Rows], Asking]] = {
        "hop-skip-jump": lambda x: hop_skip_jump(x, _SAME, plan.eps, plan.queries, draw)
    }
    # Its squares are of an image.
    if judged.columns is None and math.isqrt(size) ** 2 == size:
        makers["square"] = lambda x: square(x, _SAME, plan.eps, plan.queries, 0.05, draw)
    for name, make in makers.items():
        ended = [
            _play(judged, row, own[np.newaxis], make(judged.changeable(row)), plan)
            for row, own in zip(victims, answers, strict=True)
        ]
        won = [verdict for verdict in ended if verdict]
        yield (
            name,
            {
                "attacks": len(ended),
                "succeeded": len(won) / len(ended),
                "flagged": sum(verdict == "adversarial" for verdict in won) / max(len(won), 1),
                "at_least_suspect": sum(verdict != "clean" for verdict in won) / max(len(won), 1),
            },
        )


def _play(judged: AttackTarget, row: Rows, own: Rows, asking: Asking, plan: AttackPlan) -> str:
    """The verdict on the row that succeeded; empty where none did."""
    z = next(asking)
    for _ in range(plan.queries):
        asked = judged.sent(row, z)
        turned, verdict = judged.answer(asked, own)
        if turned and judged.far(row, asked) <= plan.eps + 1e-6:
            return verdict
        try:
            z = asking.send(_OTHER if turned else _SAME)
        except StopIteration:
            break
    return ""


def _check_numbers(value: Any) -> None:
    """Check a worker's report, which is going to be signed: names and numbers, nothing else. Raises
    DOCUMENT_MALFORMED.
    """
    if not isinstance(value, dict):
        number(value)
        return
    for name, item in value.items():
        fields.text(name, 64)
        _check_numbers(item)
