"""Where INT8 and float32 disagree, the float32 class leaves: rounding helps no attack."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from inference.engine import version_contents
from inference.model.config import ModelConfig
from publishing.attacks.probe import Probe
from publishing.calibration.served_rows import BORDER, ServedProber
from publishing.cli.screen import fetch
from publishing.worker_tasks.forward import ResponseGraph, ServingGraph
from sealgate.reasons import Reason
from sealgate.tensors import read_outputs
from sealgate.trust.policy.screening import ScreeningPolicy, ScreeningRules, VerdictActions
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import DATA, GatewayHarness, question, refusal, running
from tests.support.harness.policy_changes import accept

VICTIMS, SENT = 200, 12
FLAG_ALL = VerdictActions("flag", "flag")


Files = dict[str, bytes]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayHarness, Files]]:
    """A gateway with a version in production. Every verdict flags, so each row is answered."""
    with running(tmp_path_factory.mktemp("house") / "state") as harness:
        harness.publish("digits-standard", "digits")
        _, files = fetch(harness.profile("auditor"), "digits", 1)
        harness.promote("digits", 1)
        set_screen(harness, FLAG_ALL)
        yield harness, files


def set_screen(harness: GatewayHarness, verdicts: VerdictActions) -> None:
    screens = ScreeningPolicy({"digits": ScreeningRules(verdicts)})
    accept(harness, screens=screens.to_json())


@pytest.fixture(scope="module")
def turned(live: tuple[GatewayHarness, Files]) -> np.ndarray:
    """Of test rows, those that were turned in the INT8 answer alone."""
    _, files = live
    config = ModelConfig.decode(files[version_contents.MODEL])
    probe = Probe.of(ResponseGraph.of(files[version_contents.RESPONSE]), config)
    served = ServingGraph.of(files[version_contents.INT8], config)
    prober = ServedProber(probe, served, border=True)
    x = load_file(DATA / "digits.safetensors")["x_test"][:VICTIMS].astype(np.float32)
    rows = dict(prober.attacks(x, np.random.default_rng(0)))[BORDER]
    alone = served.logits(rows).argmax(axis=1) != probe.answers(rows)
    assert alone.sum() > SENT
    return rows[alone]


def test_no_row_leaves_with_the_class_that_only_int8_gives(
    live: tuple[GatewayHarness, Files], turned: np.ndarray
) -> None:
    harness, files = live
    config = ModelConfig.decode(files[version_contents.MODEL])
    probe = Probe.of(ResponseGraph.of(files[version_contents.RESPONSE]), config)
    for row in turned[:SENT]:
        response = harness.inference().ModelInfer(question("digits", row[np.newaxis]), timeout=60)
        classes = read_outputs(response)["logits"].data.argmax(axis=1)
        assert np.array_equal(classes, probe.answers(row[np.newaxis]))


def test_the_receipt_says_so_and_the_answer_can_be_replayed(
    live: tuple[GatewayHarness, Files], turned: np.ndarray, tmp_path: Path
) -> None:
    harness, _ = live
    asked = question("digits", turned[:1])
    asked.parameters["receipt"].bool_param = True
    response = harness.inference().ModelInfer(asked, timeout=60)
    receipt = response.parameters["receipt"].string_param.encode()
    fields = verify_receipt(
        Receipt.decode(receipt), harness.gateway.engine.policy_in_force()
    ).fields
    assert fields["arithmetic"] == "float32"
    (tmp_path / "receipt.json").write_bytes(receipt)
    np.save(tmp_path / "rows.npy", turned[:1])
    replayed = ("audit", "replay", str(tmp_path / "receipt.json"))
    shown = harness.command(*replayed, "--input", str(tmp_path / "rows.npy"), person="auditor")
    assert "equal, bit for bit" in shown.output


def test_the_evidence_says_so(live: tuple[GatewayHarness, Files]) -> None:
    harness, _ = live
    shown = harness.command("model", "show", "digits", "1").output
    assert "disagreement float32" in shown


def test_a_policy_may_refuse_them(live: tuple[GatewayHarness, Files], turned: np.ndarray) -> None:
    harness, _ = live
    set_screen(harness, VerdictActions("flag", "flag", disagreement="block"))
    reason = refusal(harness.inference().ModelInfer, question("digits", turned[:1]), timeout=60)
    assert reason is Reason.ADVERSARIAL_INPUT
