"""Attacks count where they change the answer that leaves, INT8 or float32."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from inference.screening.detector import Disagreement, Verdict
from publishing.attacks.probe import Array, Probe
from publishing.calibration.detector_fit import attack_fit_rows, draft_detector
from publishing.calibration.served_rows import BORDER, ServedProber
from publishing.serialization import pack_tensors
from publishing.worker_tasks import red_team
from publishing.worker_tasks.forward import ResponseGraph, ServingGraph
from sealgate.trust import canonical
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

MODEL = Perceptron.random(seed=11)
FILES = VersionFiles.of(MODEL)
X = clean_rows(MODEL, 300, seed=5)


@pytest.fixture(scope="module")
def prober() -> ServedProber:
    """Of a version of an earlier release, which answers in INT8."""
    probe = Probe.of(ResponseGraph.of(MODEL.response()), FILES.config)
    served = ServingGraph.of(MODEL.int8(), FILES.config)
    return ServedProber(probe, served, answers_float32=False, border=True)


def attacks(prober: ServedProber) -> Iterator[tuple[str, Array, Array, Array]]:
    """By name: the rows, and where they turned the served answer and the other."""
    own, twin = prober.answers(X), prober.prober.answers(X)
    for name, rows in prober.attacks(X, np.random.default_rng(0)):
        if name.startswith("near"):
            # How far these go is drawn by lot, behind what others draw.
            continue
        yield name, rows, prober.answers(rows) != own, prober.prober.answers(rows) != twin


def report(
    counts_for: Disagreement | None, least_margin: float = 0.0
) -> dict[str, dict[str, float]]:
    detector = replace(FILES.detector, disagreement=counts_for, least_margin=least_margin)
    files = FILES.encode(detector_json=detector.encode())
    plan = canonical.encode({"victims": 0, "queries": 0, "eps": 0.1})
    needed = {path: files[path] for path in red_team.FILES}
    sent: list[bytes] = []
    red_team.run(pack_tensors({**needed, "plan": plan}, {"rows": X}), sent.append)
    found: dict[str, dict[str, float]] = canonical.decode(sent[0])["attacks"]
    return found


def test_some_rows_change_the_served_answer_alone(prober: ServedProber) -> None:
    *_, (name, rows, served, twin) = attacks(prober)
    assert name == BORDER
    assert served.mean() > 0.1
    assert not twin[served].any()
    assert np.array_equal(rows[~served], X[~served])
    features = prober.measure(rows)[1]
    assert (features[served, -1] == 1).all()


@pytest.mark.parametrize("counts_for", [None, Verdict.ADVERSARIAL])
def test_an_attack_counts_by_the_served_answer(
    prober: ServedProber, counts_for: Verdict | None
) -> None:
    told, apart, counted = report(counts_for), 0, counts_for is not None
    for name, _, served, twin in attacks(prober):
        assert told[name]["succeeded"] == pytest.approx(served.mean(), abs=1e-4)
        apart += served.sum() != twin.sum()
    assert apart > 1
    assert ("disagrees" in told[BORDER]) is counted
    # A detector from before lets most of them pass.
    assert (told[BORDER]["flagged"] == 1) if counted else (told[BORDER]["flagged"] < 0.5)


def test_what_turns_int8_alone_turns_no_answer_that_leaves(prober: ServedProber) -> None:
    told = report("float32")
    assert told[BORDER] == {"succeeded": 0}
    for name, _, _, twin in attacks(prober):
        if name != BORDER:
            assert told[name]["succeeded"] == pytest.approx(twin.mean(), abs=1e-4)
    *_, (_, rows, served, _) = attacks(prober)
    released = replace(prober, answers_float32=True)
    logits = released.measure(rows[served])[0]
    assert np.array_equal(logits, prober.prober.measure(rows[served])[0])
    assert np.array_equal(logits.argmax(axis=1), released.answers(X[served]))


def test_an_answer_is_turned_where_its_margin_is_too_large_to_be_compared(
    prober: ServedProber,
) -> None:
    *_, (name, _, served, _) = attacks(prober)
    told = report(FLOAT32, least_margin=1e-9)
    assert told[name]["succeeded"] == pytest.approx(served.mean(), abs=1e-4)
    assert report(FLOAT32, least_margin=1e9)[name] == {"succeeded": 0}


def test_a_detector_is_fitted_to_served_answers(prober: ServedProber) -> None:
    seen = attack_fit_rows(
        replace(prober, border=False), X, np.random.default_rng(0), compared=True
    )
    assert BORDER not in seen.harmful
    for name, _, served, _ in attacks(prober):
        if name in seen.harmful:
            assert seen.harmful[name].places.tolist() == np.flatnonzero(served).tolist()
    assert draft_detector(seen).answers_float32
    assert seen.clean.features.shape == (len(X), 4)
