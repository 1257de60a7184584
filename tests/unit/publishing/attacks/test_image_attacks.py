"""A red team's report lists attacks on images that no detector is shown."""

from dataclasses import replace

import numpy as np
import pytest

from inference.engine import version_contents
from inference.model.config import InputDomain
from publishing.attacks.image_attacks import L1_SIZES, MOVED, PATCH, UNSHOWN, ReportedProbe
from publishing.attacks.probe import ATTACKS, Probe
from publishing.serialization import pack_tensors
from publishing.worker_tasks import red_team
from publishing.worker_tasks.forward import ResponseGraph
from sealgate.trust import canonical
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

SIDE = 8
MODEL = Perceptron.random(seed=5, inputs=SIDE * SIDE)
X = clean_rows(MODEL, 100, seed=1)


@pytest.fixture(scope="module")
def probe() -> ReportedProbe:
    plain = Probe(ResponseGraph.of(MODEL.response()), 0.05, InputDomain(0.0, 1.0))
    return ReportedProbe(plain, (SIDE, SIDE))


@pytest.fixture(scope="module")
def made(probe: ReportedProbe) -> dict[str, np.ndarray]:
    return dict(probe.attacks(X, np.random.default_rng(0)))


def turned(probe: ReportedProbe, rows: np.ndarray) -> np.ndarray:
    return np.asarray(probe.answers(rows) != probe.answers(X))


def test_they_come_after_those_that_a_detector_is_shown(made: dict[str, np.ndarray]) -> None:
    assert tuple(made) == (*ATTACKS, *UNSHOWN)
    for name, rows in made.items():
        assert rows.shape == X.shape, name
        assert (rows.min() >= 0) & (rows.max() <= 1), name


def test_the_sum_of_moves_stays_in_its_ball(
    probe: ReportedProbe, made: dict[str, np.ndarray]
) -> None:
    for size in L1_SIZES:
        moves = np.abs(made[f"l1-{size:g}"] - X).sum(axis=1)
        assert moves.max() <= size * (1 + 1e-4)
        assert moves.mean() > 0.5 * size
    # Each step goes to few places.
    assert (np.abs(made["l1-2"] - X) > 1e-4).mean() < 0.5
    assert turned(probe, made["l1-5"]).mean() > max(0.2, turned(probe, made["l1-2"]).mean())


def test_a_patch_is_a_sixteenth_of_an_image_at_one_place(
    probe: ReportedProbe, made: dict[str, np.ndarray]
) -> None:
    changed = (made[PATCH] != X).reshape(-1, SIDE, SIDE)
    for rows in changed:
        down, right = np.flatnonzero(rows.any(axis=1)), np.flatnonzero(rows.any(axis=0))
        assert np.ptp(down) < SIDE // 4 if len(down) else True
        assert np.ptp(right) < SIDE // 4 if len(right) else True
    assert turned(probe, made[PATCH]).mean() > 0.1
    # Where no place turns the answer, the row stays.
    assert not changed[~turned(probe, made[PATCH])].any()


def test_a_moved_image_is_the_first_that_is_answered_otherwise(
    probe: ReportedProbe, made: dict[str, np.ndarray]
) -> None:
    changed = (made[MOVED] != X).any(axis=1)
    assert changed.any()
    assert np.array_equal(changed, turned(probe, made[MOVED]))


def test_channels_of_an_image_move_together() -> None:
    x = X[:20].reshape(-1, 1, SIDE, SIDE).repeat(3, axis=1)

    graph = ResponseGraph.of(MODEL.response())

    class Mean:
        """Answers by the mean of the channels."""

        def run(self, output_names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
            rows = feed["x"].mean(axis=1).reshape(len(feed["x"]), -1)
            found = graph.run(output_names, {**feed, "x": rows})
            if {"x_adv", "gradient"} & set(output_names):
                found = [each.reshape(-1, 1, SIDE, SIDE).repeat(3, 1) for each in found]
            return list(found)

    plain = Probe(Mean(), 0.05, InputDomain(0.0, 1.0))
    probe = ReportedProbe(plain, (SIDE, SIDE))
    made = dict(probe.attacks(x, np.random.default_rng(0)))
    changed = made[PATCH] != x
    assert changed.any()
    places = changed.any(axis=1, keepdims=True).reshape(len(x), -1).sum(axis=1)
    assert places.max() <= (SIDE // 4) ** 2
    moved = made[MOVED]
    assert np.allclose(moved[:, 0], moved[:, 2])


def report(image: tuple[int, int] | None) -> dict[str, object]:
    files = VersionFiles.of(MODEL)
    config = replace(files.config, image=image)
    encoded = {**files.encode(), version_contents.MODEL: config.encode()}
    needed = {path: encoded[path] for path in red_team.FILES}
    plan = canonical.encode({"victims": 0, "queries": 0, "eps": 0.1})
    sent: list[bytes] = []
    red_team.run(pack_tensors({**needed, "plan": plan}, {"rows": X}), sent.append)
    return dict(canonical.decode(sent[0])["attacks"])


def test_a_red_team_reports_them_of_images_alone() -> None:
    attacks = report((SIDE, SIDE))
    assert set(UNSHOWN) <= set(attacks)
    assert attacks[PATCH]["succeeded"] > 0  # type: ignore[index]
    assert not set(UNSHOWN) & set(report(None))
