"""A small part of `make bench NAME=screening`: digits, one seed, with margins."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from benchmarks.screening import adaptive, attacks, subjects, toolbox
from benchmarks.screening.attacks import ATTACKS, BOUNDED, made
from benchmarks.screening.baselines import scorers
from benchmarks.screening.sources import CANCER, DIGITS, Hardening
from benchmarks.screening.subjects import HARDENED, PLAIN, ScreenedModel, TorchSession
from inference.runtime import response_contract
from inference.screening.gradient_attacks import feeds
from publishing.calibration.screening_report import auroc
from tests.support.builders.models.demo_models import DemoModel
from training.export.reference import CleanReference

pytestmark = pytest.mark.slow

QUICK = {"FGSM", "PGD-40", "PGD-L2 2.0", "DeepFool"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(subjects, "CACHE", folder)
        patch.setattr(attacks, "CACHE", folder)
        torch.set_num_threads(1)
        yield folder


def short(model: str) -> ScreenedModel:
    """Trained for a third of the time, or a fifth."""
    assert isinstance(DIGITS.harder, Hardening)
    harder = replace(DIGITS.harder, step=replace(DIGITS.harder.step, epochs=40))
    recipe = replace(DIGITS.recipe, epochs=40)
    return subjects.subject(replace(DIGITS, recipe=recipe, harder=harder), model, 7)


@pytest.fixture(scope="module")
def plain() -> ScreenedModel:
    return short(PLAIN)


def test_what_is_measured_is_what_versions_compute() -> None:
    demo = DemoModel.load("digits-standard")
    # Of the graph itself: exports choose the kept rows, and later ones may choose others.
    state = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load_model_from_string(demo.response).graph.initializer
        if tensor.name.startswith("reference.")
    }
    session = TorchSession(demo.module, CleanReference.of(state))
    given = feeds(demo.data["x_test"][:50], 0.03, 0.0, 1.0)
    for ours, graph_s in zip(
        session.run(None, given),
        demo.session.run(list(response_contract.OUTPUTS), given),
        strict=True,
    ):
        assert np.allclose(ours, graph_s, atol=2e-3, rtol=1e-3)


def test_no_row_is_in_two_slices_and_seeds_differ(plain: ScreenedModel) -> None:
    rows = np.concatenate([x for x, _ in plain.slices.values()])
    assert len(np.unique(rows, axis=0)) == len(rows) == 1797
    other = subjects.subject(plain.source, PLAIN, 8)
    assert not np.array_equal(other.slices["test"][0], plain.slices["test"][0])


def test_known_detectors_tell_attacks_from_clean_rows(plain: ScreenedModel) -> None:
    (pgd,) = (attack for attack in ATTACKS if attack.name == "PGD-40, half size")
    _, after, y = made(plain, pgd)
    turned = after[plain.probe.answers(after) != y]
    x = plain.slices["fit"][0]
    harmful = dict(plain.probe.attacks(x, np.random.default_rng(0)))["pgd-0.1"]
    found = scorers(plain, x, harmful[plain.probe.answers(harmful) != plain.probe.answers(x)])
    clean = plain.slices["test"][0]
    told = {name: auroc(score(clean), score(turned)) for name, score in found.items()}
    # These tell large attacks, or none of so small a model.
    weak = {"LID", "squeezing", "autoencoder, error", "autoencoder, answers"}
    assert min(value for name, value in told.items() if name not in weak) > 0.55, told
    assert told["joined"] > 0.85
    assert all(np.isfinite(score(clean)).all() for score in found.values())


def test_attacks_keep_to_their_bounds_and_turn_answers(plain: ScreenedModel) -> None:
    for attack in ATTACKS:
        if attack.name not in QUICK:
            continue
        before, after, classes = made(plain, attack)
        assert (plain.probe.answers(before) == classes).all()
        assert after.min() >= 0
        assert after.max() <= 1
        assert np.mean(plain.probe.answers(after) != classes) > 0.8
        moved = np.abs(after - before)
        if attack.kind == BOUNDED:
            assert (moved <= plain.unit + 1e-6).all()
        # The stored rows are used again.
        assert np.array_equal(made(plain, attack)[1], after)


def test_a_table_s_columns_move_by_their_own_spread() -> None:
    table = subjects.subject(replace(CANCER, recipe=replace(CANCER.recipe, epochs=5)), PLAIN, 7)
    train = table.slices["train"][0]
    spread = np.subtract(*np.quantile(train, [0.75, 0.25], axis=0))
    assert np.allclose(table.unit, 0.1 * spread, atol=1e-5)
    (fgsm,) = (attack for attack in ATTACKS if attack.name == "FGSM")
    before, after, _ = made(table, fgsm)
    assert (np.abs(after - before) <= table.unit + 1e-6).all()


def test_an_ensemble_keeps_to_its_bound_and_turns_no_fewer(plain: ScreenedModel) -> None:
    few = replace(
        plain, slices={**plain.slices, "test": tuple(p[:40] for p in plain.slices["test"])}
    )
    turned = {}
    for attack in ATTACKS:
        if attack.name in ("FGSM", "AutoAttack"):
            _, after, classes = made(few, attack)
            turned[attack.name] = np.mean(few.probe.answers(after) != classes)
    assert (np.abs(after - few.right[0]) <= few.unit + 1e-6).all()
    assert turned["AutoAttack"] >= turned["FGSM"]
    assert turned["AutoAttack"] > 0.95


def test_a_mask_and_a_patch_leave_other_pixels_alone(plain: ScreenedModel) -> None:
    x, y = (part[:40] for part in plain.right)
    np.random.seed(0)
    inked = toolbox.masked(plain.module, x, y, 0.2)
    assert (inked == x)[x <= 0.02].all()
    at_random = toolbox.masked_at_random(plain.module, x, y, 0.2)
    assert 0.3 < np.mean(at_random != x) < 0.6
    patched = toolbox.patch(plain.module, x, y)
    assert (patched != x).sum(axis=1).max() <= 4
    assert np.mean(plain.probe.answers(patched) != y) > 0.2


def test_figures_hold_with_margins(plain: ScreenedModel) -> None:
    (detector,) = plain.detectors()

    def scores(rows: np.ndarray) -> np.ndarray:
        return detector.scores(plain.probe.measure(rows)[1])

    clean = scores(plain.slices["test"][0])
    assert np.mean(clean > detector.threshold) <= 0.01 + 4 * np.sqrt(0.01 * 0.99 / 400)
    for attack in ATTACKS:
        if attack.name in QUICK:
            _, after, classes = made(plain, attack)
            attacked = scores(after[plain.probe.answers(after) != classes])
            assert auroc(clean, attacked) > 0.97
            assert np.mean(attacked > detector.suspect_threshold) > 0.85


def test_whoever_knows_the_detector_works_around_it(plain: ScreenedModel) -> None:
    x, y = plain.right
    (detector,) = plain.detectors()
    # Where each row counts as turned from the first, what counts is its own score, or the lower one
    # of the refusal, which is above the threshold where that is.
    own = detector.scores(plain.probe.measure(x[:50])[1])
    at_once = adaptive.least_scores(plain, detector, x[:50], (y[:50] + 1) % 10, 1, 1)
    assert np.isclose(at_once, own, atol=1e-3).mean() > 0.3
    assert (at_once <= own + 1e-3).all()
    assert ((at_once > detector.threshold) == (own > detector.threshold)).all()
    (pgd,) = (attack for attack in ATTACKS if attack.name == "PGD-40")
    after = made(plain, pgd)[1][:30]
    unknowing = detector.scores(plain.probe.measure(after)[1])
    least = adaptive.least_scores(plain, detector, x[:30], y[:30], 2, 60)
    assert np.isfinite(least).mean() > 0.9
    assert np.mean(least <= detector.threshold) > np.mean(unknowing <= detector.threshold) + 0.2
    # A row that is below the threshold is left alone.
    limit = detector.threshold
    early = adaptive.least_scores(plain, detector, x[:30], y[:30], 4, 60, enough=limit)
    late = adaptive.least_scores(plain, detector, x[:30], y[:30], 4, 60)
    assert ((early <= limit) == (late <= limit)).all()
    # A search that begins at another attack's rows fools no fewer.
    begun = adaptive.least_scores(plain, detector, x[:30], y[:30], 1, 1, made=after)
    assert np.isfinite(begun).mean() == np.mean(plain.probe.answers(after) != y[:30])
    # Within less, no more is found.
    near = adaptive.least_scores(plain, detector, x[:30], y[:30], 2, 20, 0.25)
    assert np.isfinite(near).mean() <= np.isfinite(least).mean()


def test_an_attack_left_out_is_not_fitted_to(plain: ScreenedModel) -> None:
    few = {name: (x[:80], y[:80]) for name, (x, y) in plain.slices.items()}
    everything, without = replace(plain, slices=few).detectors(("pgd",))
    assert any("pgd" in name for name in everything.fitted_on)
    assert without.fitted_on
    assert not any("pgd" in name for name in without.fitted_on)


def test_a_model_hardened_by_pgd_gives_way_less(plain: ScreenedModel) -> None:
    hardened = short(HARDENED)
    (pgd,) = (attack for attack in ATTACKS if attack.name == "PGD-40, half size")
    turned = {}
    for name, subject in (("plain", plain), ("hardened", hardened)):
        _, after, classes = made(subject, pgd)
        turned[name] = np.mean(subject.probe.answers(after) != classes)
    assert turned["hardened"] < turned["plain"] / 2
    # The stored network is used again.
    x, _ = hardened.right
    ours, kept = (each.probe.measure(x[:20])[0] for each in (hardened, short(HARDENED)))
    assert np.array_equal(ours, kept)
