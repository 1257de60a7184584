"""Rows whose INT8 answer differs from the float32 reference are refused."""

from collections.abc import Iterator

import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.engine import version_contents
from inference.model.config import ModelConfig
from inference.screening.detector import Detector, Verdict
from publishing.calibration.probe import Probe
from publishing.calibration.served_rows import BORDER, ServedProber
from publishing.cli.screen import fetch
from publishing.worker_tasks.forward import ResponseGraph, ServingGraph
from sealgate.reasons import Reason
from tests.support.harness.gateway import DATA, GatewayHarness, question, refusal, running

VICTIMS, SENT = 200, 12


Files = dict[str, bytes]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayHarness, int, Files]]:
    """A gateway with a version in production that refuses answers like these. A mark is random, and
    in one of twenty its calibration rows have no room for that.
    """
    with running(tmp_path_factory.mktemp("house") / "state") as harness:
        for number, folder in enumerate(("digits-2", "digits-1", "digits-2"), 1):
            harness.publish(folder, "digits")
            _, files = fetch(harness.profile("auditor"), "digits", number)
            if (
                Detector.decode(files[version_contents.DETECTOR]).disagreement
                is Verdict.ADVERSARIAL
            ):
                harness.promote("digits", number)
                yield harness, number, files
                return
        pytest.fail("three versions count disagreement for less")


def attacked(files: Files) -> np.ndarray:
    """Of test rows, those that were turned in the INT8 answer alone, the likest to honest ones
    first.
    """
    config = ModelConfig.decode(files[version_contents.MODEL])
    probe = Probe.of(ResponseGraph.of(files[version_contents.RESPONSE]), config)
    served = ServingGraph.of(files[version_contents.INT8], config)
    prober = ServedProber(probe, served, border=True)
    x = load_file(DATA / "digits.safetensors")["x_test"][:VICTIMS].astype(np.float32)
    moved = dict(prober.attacks(x, np.random.default_rng(0)))[BORDER]
    turned = moved[prober.answers(moved) != prober.answers(x)]
    assert (probe.answers(turned) != prober.answers(turned)).all()
    detector = Detector.decode(files[version_contents.DETECTOR])
    scores = detector.graph_scores(prober.measure(turned)[1])
    assert (scores <= detector.threshold).sum() > VICTIMS // 5
    return turned[np.argsort(scores)]


def test_rows_on_which_int8_and_float32_disagree_are_refused(
    live: tuple[GatewayHarness, int, Files],
) -> None:
    harness, _, files = live
    for row in attacked(files)[:SENT]:
        asked = question("digits", row[np.newaxis])
        reason = refusal(harness.inference().ModelInfer, asked, timeout=60)
        assert reason is Reason.ADVERSARIAL_INPUT


def test_disagreeing_rows_are_in_the_evidence(live: tuple[GatewayHarness, int, Files]) -> None:
    harness, number, _ = live
    shown = harness.command("model", "show", "digits", str(number)).output
    assert "disagreement adversarial" in shown
