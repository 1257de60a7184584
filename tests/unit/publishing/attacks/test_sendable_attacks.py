"""Attacks on tables change only values that a caller could send."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from inference.engine import version_contents
from inference.model.columns import Column, RowRules
from inference.model.config import ModelConfig
from publishing.attacks.probe import ATTACKS, SPARSE, Probe
from publishing.serialization import pack_tensors
from publishing.worker_tasks import red_team
from publishing.worker_tasks.forward import ResponseGraph
from sealgate.trust import canonical
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, margin

MODEL = Perceptron.random(seed=11, inputs=9)
# Whole numbers from 0 to 10, two that are on record, a range, anything, and two words of a column.
DECLARED = (
    Column("whole", step=0.1),
    Column("record", step=0.1, immutable=True),
    Column("other record", immutable=True),
    Column("ranged", min=0.25, max=0.75),
    Column("anything"),
    Column("finer", step=0.01),
    Column("word", "yes"),
    Column("word", "no"),
    Column("anything else"),
)
FILES = VersionFiles.of(MODEL)
CONFIG = replace(FILES.config, columns=DECLARED)
STAYS = [1, 2, 6, 7]
VICTIMS = 20


def table(config: ModelConfig = CONFIG) -> RowRules:
    assert config.table is not None
    return config.table


def clean(n: int, seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    x = draw.random((n, 9), np.float32)
    x[:, [0, 1]] = np.rint(x[:, [0, 1]] * 10) / 10
    x[:, 3] = 0.25 + x[:, 3] / 2
    x[:, 5] = np.rint(x[:, 5] * 100) / 100
    x[:, 6:8] = np.eye(2)[draw.integers(0, 2, n)]
    return x


@pytest.fixture
def probe() -> Probe:
    return Probe.of(ResponseGraph.of(MODEL.response()), CONFIG)


def test_detectors_are_fitted_to_sendable_rows(probe: Probe) -> None:
    x = clean(200)
    own, turned = probe.answers(x), 0
    for name, moved in probe.attacks(x, np.random.default_rng(0)):
        table().check(moved)
        assert moved[:, STAYS].tobytes() == x[:, STAYS].tobytes(), name
        size = 1.0 if name == SPARSE else float(name.rpartition("-")[2])
        assert np.abs(moved - x).max() <= size + 1e-6, name
        turned += int((probe.answers(moved) != own).sum())
    assert turned > len(ATTACKS)


def test_near_attacks_stop_at_the_first_change_of_the_answer(probe: Probe) -> None:
    x = clean(200)
    own, made = probe.answers(x), dict(probe.attacks(x, np.random.default_rng(0)))
    far, near = made["pgd-0.3"], made["near-pgd-0.3"]
    turned = probe.answers(far) != own
    assert (probe.answers(near)[turned] != own[turned]).mean() > 0.9
    assert (np.abs(near - x) <= np.abs(far - x) + 1e-6).all()
    assert np.abs(near - x)[turned].mean() < 0.9 * np.abs(far - x)[turned].mean()


def test_benign_changes_move_immutable_columns_but_no_categories(probe: Probe) -> None:
    x = clean(200)
    moved = dict(probe.shifts(x, np.random.default_rng(0)))
    for rows in moved.values():
        table().check(rows)
        assert rows[:, 6:8].tobytes() == x[:, 6:8].tobytes()
    assert (moved["noise-0.1"] != x).any(axis=0)[:6].all()


def asked(monkeypatch: pytest.MonkeyPatch, x: np.ndarray, config: ModelConfig) -> tuple[list, dict]:
    """Every row that a red team judged, and its report."""
    seen: list[np.ndarray] = []
    measure, reports = Probe.measure, []

    def watched(self: Probe, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(rows)
        return measure(self, rows)

    monkeypatch.setattr(Probe, "measure", watched)
    files = {**FILES.encode(), version_contents.MODEL: config.encode()}
    plan = canonical.encode({"victims": VICTIMS, "queries": 400, "eps": 0.1})
    needed = {path: files[path] for path in red_team.FILES}
    red_team.run(pack_tensors({**needed, "plan": plan}, {"rows": x}), reports.append)
    return seen, canonical.decode(reports[0])


def test_an_attack_sends_only_sendable_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x = clean(200)
    # The model is least sure of those that are attacked.
    x = x[np.argsort(margin(MODEL.logits(x)))]
    seen, report = asked(monkeypatch, x, CONFIG)
    for rows in seen:
        table().check(rows)
    questions = np.concatenate([rows for rows in seen if len(rows) == 1])
    assert len(questions) > 100
    on_record = {row[STAYS].tobytes() for row in x[:VICTIMS]}
    assert {row[STAYS].tobytes() for row in questions} <= on_record
    assert report["queries"]["hop-skip-jump"]["succeeded"] > 0
    # Nine columns are no image, whose squares would be moved.
    assert set(report["queries"]) == {"hop-skip-jump"}


def _turned(probe: Probe, x: np.ndarray) -> Iterator[float]:
    own = probe.answers(x)
    for _, moved in probe.attacks(x, np.random.default_rng(0)):
        yield float(np.mean(probe.answers(moved) != own))


def test_unsendable_rows_would_have_counted(probe: Probe) -> None:
    x = clean(200)
    before = replace(probe, columns=None)
    assert sum(_turned(before, x)) > 1.2 * sum(_turned(probe, x))
