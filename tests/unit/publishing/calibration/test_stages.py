"""Whether a version gets a first stage: by what was measured, with a clock of the test's own."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from inference.engine.graphs import open_classifier, open_response
from inference.model.config import InputDomain
from inference.screening.first_stage import FEATURES, WordTables
from publishing.attacks.probe import Probe
from publishing.calibration import choose_first_stage, first_stage_choice, rounding_margin
from publishing.calibration.detector_fit import (
    FitRows,
    attack_fit_rows,
    draft_detector,
    set_thresholds,
)
from publishing.calibration.first_stage_choice import StageChoice
from publishing.calibration.rounding_margin import TimedGraphs
from publishing.calibration.served_rows import ServedVectors, StagedProber
from publishing.worker_tasks import trial
from publishing.worker_tasks.forward import ResponseGraph
from publishing.worker_tasks.trial_request import TrialRequest
from tests.support.builders.models import text_models
from tests.support.builders.models.counts import with_counts
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import (
    VersionFiles,
    apart_rows,
    clean_rows,
    int8_logits,
    margin,
)

MODEL = Perceptron.random(seed=11)
FILES = VersionFiles.of(MODEL)
PROBE = Probe(ResponseGraph.of(MODEL.response()), 0.05, InputDomain(0.0, 1.0))
VECTORS = ServedVectors.of(MODEL.int8(), MODEL.serving(), FILES.config)
X_FIT = clean_rows(MODEL, 200, seed=1)


@cache
def seen() -> FitRows:
    """Of the attacks in the maximum norm, which both stages see."""
    found = attack_fit_rows(PROBE, X_FIT, np.random.default_rng(0))
    kept = ("fgsm", "pgd", "near")
    return replace(found, harmful={n: p for n, p in found.harmful.items() if n.startswith(kept)})


class Slow:
    """A graph that takes so many seconds a row, by a clock that only it moves."""

    def __init__(self, session: Any, clock: list[float], seconds: float) -> None:
        self.session, self.clock, self.seconds = session, clock, seconds

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.clock[0] += self.seconds * len(feeds["x"])
        found: list[np.ndarray] = self.session.run(feeds)
        return found


def choice(graph: float, first: float = 0.0, given: FitRows | None = None) -> StageChoice | None:
    """Where the response graph takes `graph` seconds a row, and the first stage `first` more than
    an answer, which takes 1 ms.
    """
    clock, config = [0.0], FILES.config
    tapped = replace(VECTORS.tapped, session=Slow(VECTORS.tapped.session, clock, 0.001 + first))
    graphs = TimedGraphs(
        Slow(open_classifier(MODEL.int8(), config, 1), clock, 0.001),  # type: ignore[arg-type]
        Slow(open_classifier(MODEL.serving(), config, 1), clock, 0.002),  # type: ignore[arg-type]
        Slow(open_response(MODEL.response(), config, 1)[1], clock, graph),  # type: ignore[arg-type]
        VECTORS.form,
    )
    given = given or seen()
    vectors = replace(VECTORS, tapped=tapped)
    return choose_first_stage(given, vectors, graphs, lambda: clock[0])


def chosen(graph: float, first: float = 0.0, given: FitRows | None = None) -> StageChoice:
    found = choice(graph, first, given)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def any_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight random numbers leave no margin that rounding could not use up."""
    monkeypatch.setattr(rounding_margin, "ROOM", 0.0)


@pytest.fixture
def any_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test is of costs, what eight random numbers lose of AUROC does not matter."""
    monkeypatch.setattr(first_stage_choice, "MOST_LOST", 1.0)


def test_what_rounding_may_turn_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    before = chosen(graph=0.006)
    assert before.stage.least_margin == 0
    monkeypatch.setattr(rounding_margin, "ROOM", 2.0)
    found = chosen(graph=0.006)
    rows = np.concatenate([part.rows for part in (seen().clean, *seen().harmful.values())])
    shown, reference = VECTORS.of_rows(rows), MODEL.logits(rows)
    ranked = np.sort(shown.logits, axis=1)
    apart = shown.logits.argmax(axis=1) != reference.argmax(axis=1)
    assert apart.any()
    turned = (ranked[:, -1] - ranked[:, -2])[apart].max()
    assert found.stage.least_margin == pytest.approx(2 * turned, rel=1e-5)
    features = found.stage.readings.features(shown, VECTORS.weight)
    assert found.stage.escalates(features)[apart].all()
    assert found.share >= before.share


def test_where_rounding_turned_nothing_a_row_goes_on_that_it_might_have_turned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rounding_margin, "ROOM", 2.0)
    monkeypatch.setattr(rounding_margin, "disagreeing", lambda logits, _: np.zeros(len(logits)))
    found = chosen(graph=0.006)
    rows = np.concatenate(
        [part.rows for part in (seen().clean, *seen().shifted, *seen().harmful.values())]
    )
    off = VECTORS.of_rows(rows).logits - MODEL.logits(rows)
    moved = (off.max(axis=1) - off.min(axis=1)).max()
    assert found.stage.least_margin == pytest.approx(2 * moved, rel=1e-4)


def test_further_rows_raise_the_least_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding_margin, "ROOM", 2.0)
    config, form = FILES.config, VECTORS.form
    int8, float32 = (open_classifier(each, config, 1) for each in (MODEL.int8(), MODEL.serving()))
    graphs = TimedGraphs(int8, float32, open_response(MODEL.response(), config, 1)[1], form)
    turned, sure = apart_rows(MODEL, 12), X_FIT[margin(int8_logits(MODEL, X_FIT)) > 0.5]
    given = replace(seen(), clean=replace(seen().clean, rows=sure), shifted=(), harmful={})
    widest = margin(int8_logits(MODEL, turned)).max()
    found = rounding_margin.least_margin(given, graphs, turned)
    assert found == pytest.approx(2 * widest, rel=1e-5)
    assert found != pytest.approx(rounding_margin.least_margin(given, graphs), rel=1e-2)


@pytest.mark.usefixtures("any_loss")
def test_a_stage_is_taken_where_the_graph_is_dear() -> None:
    found = chosen(graph=0.006)
    assert found.pays
    assert found.timing.int8 == pytest.approx(0.016)
    assert found.timing.graph == pytest.approx(0.096)
    # Of sixteen rows that go on one by one, so many on average.
    assert found.timing.staged == pytest.approx(16 * found.share * 0.006)
    told = found.value(taken=True)
    assert told["first_stage"] is True
    assert told["forwards"] == pytest.approx({"int8": 0.5, "graph": 3.0, "staged": 3 * found.share})


@pytest.mark.usefixtures("any_loss")
def test_no_stage_is_taken_where_the_graph_costs_little() -> None:
    assert choice(graph=0.9 * first_stage_choice.LEAST_SECONDS / 16) is None
    assert chosen(graph=1.1 * first_stage_choice.LEAST_SECONDS / 16).pays


@pytest.mark.usefixtures("any_loss")
def test_no_stage_is_taken_that_costs_as_much_as_it_saves() -> None:
    assert not chosen(graph=0.006, first=0.003).pays
    assert chosen(graph=0.006, first=0.001).pays


def test_no_stage_is_taken_that_hides_what_the_graph_would_find() -> None:
    """Attacked rows whose vectors are clean ones: the first stage cannot see them."""
    given = seen()
    blind = {name: replace(part, rows=X_FIT[part.places]) for name, part in given.harmful.items()}
    found = chosen(graph=0.006, given=replace(given, harmful=blind))
    assert found.lost > 0.05
    assert not found.pays


def test_no_stage_is_taken_that_whoever_knows_it_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all attacks one alone is hidden from the first stage, which means little on average; but
    who knows the stages sends that one.
    """
    given = seen()
    name, part = max(given.harmful.items(), key=lambda each: len(each[1].places))
    blind = replace(part, rows=X_FIT[part.places])
    hidden = replace(given, harmful={**given.harmful, f"hidden-{name}": blind})
    before, after = chosen(graph=0.006), chosen(graph=0.006, given=hidden)
    assert after.auroc_drop_adaptive > before.auroc_drop_adaptive + 0.1
    monkeypatch.setattr(
        first_stage_choice, "MOST_LOST", (after.lost + after.auroc_drop_adaptive) / 2
    )
    assert after.lost < first_stage_choice.MOST_LOST
    assert not after.pays
    assert replace(after, auroc_drop_adaptive=after.lost).pays


def test_a_class_of_few_rows_takes_no_stage() -> None:
    own = PROBE.answers(X_FIT)
    rows = np.concatenate([X_FIT[own != 0], X_FIT[own == 0][:9]])
    few = attack_fit_rows(PROBE, rows, np.random.default_rng(0))
    graphs = TimedGraphs(
        open_classifier(MODEL.int8(), FILES.config, 1),
        open_classifier(MODEL.serving(), FILES.config, 1),
        open_response(MODEL.response(), FILES.config, 1)[1],
        VECTORS.form,
    )
    assert choose_first_stage(few, VECTORS, graphs, least=0.0) is None


def test_the_share_that_goes_on_is_about_what_was_chosen() -> None:
    """The cut stands on rows that the stage was not fitted on, so it holds on others."""
    found = chosen(graph=0.006)
    probe = StagedProber(PROBE, VECTORS, found.stage)
    features = probe.measure(clean_rows(MODEL, 4000, seed=9))[1]
    share = float(np.mean(found.stage.escalates(features[:, :FEATURES])))
    assert share == pytest.approx(found.share, abs=0.07)


def test_thresholds_stand_on_the_joined_scores() -> None:
    found = chosen(graph=0.006)
    draft = replace(draft_detector(seen()), first=found.stage)
    probe = StagedProber(PROBE, VECTORS, found.stage)
    rows = clean_rows(MODEL, 400, seed=2)
    detector = set_thresholds(draft, probe, rows, np.random.default_rng(1))
    scores = detector.scores(probe.measure(rows)[1])
    assert detector.calibration.scores == tuple(np.sort(scores).tolist())
    assert detector.suspect_threshold >= 0
    for limit in (detector.calibration.adversarial, detector.calibration.suspect):
        assert np.sum(scores > limit.threshold) < limit.rank


@pytest.mark.slow
def test_the_first_stage_reads_word_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[ServedVectors] = []

    def choose(seen: Any, vectors: ServedVectors, graphs: Any, asked_below: float) -> None:
        given.append(vectors)

    monkeypatch.setattr(trial, "choose_first_stage", choose_first_stage)
    source, data = text_models.source(), text_models.dataset()
    response = with_counts(source.response)
    request = TrialRequest(
        source.config,
        source.serving,
        *(source.serving, response),
        *(data.fit, data.calibration, data.test),
        seed=1,
        tokenizer=source.tokenizer,
    )
    trial.run(request.encode(), lambda _: None)
    (vectors,) = given
    words = WordTables.of(response, text_models.RULES.vocabulary, 2)
    assert words is not None
    shown = vectors.of_rows(data.fit.x[:4])
    held = (data.fit.x[:4] >= 0).astype(np.int64)
    expected = words.read(np.maximum(data.fit.x[:4], 0), held)
    assert np.allclose(shown.inputs, expected, atol=1e-5)
