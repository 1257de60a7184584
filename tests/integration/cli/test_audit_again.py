"""`sealgate audit derive` and `replay`: making the INT8 model again, and asking again."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sealgate.reasons import Reason
from sealgate.trust.receipts import Receipt
from tests.support.harness.gateway import DATA, GatewayHarness, rows, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    with running(tmp_path_factory.mktemp("again") / "state") as harness:
        for folder in ("digits-standard", "digits-hardened"):
            harness.publish(folder, "digits")
        harness.promote("digits", 1)
        np.savetxt(harness.state / "rows.csv", rows(count=3), delimiter=",")
        words = ("--input", str(harness.state / "rows.csv"))
        words += ("--receipt", str(harness.state / "receipt.json"))
        answered = harness.command("infer", "digits", *words)
        assert answered.exit_code == 0, answered.output
        yield harness


def shown(harness: GatewayHarness, *words: str) -> dict[str, object]:
    result = harness.command("audit", *words, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def refused(harness: GatewayHarness, *words: str) -> str:
    result = harness.command("audit", *words)
    assert result.exit_code == 1, result.output
    return result.stderr.removeprefix("Error: ").partition(":")[0]


def replay(harness: GatewayHarness, *more: str, file: str = "rows.csv") -> tuple[str, ...]:
    receipt = str(harness.state / "receipt.json")
    return ("replay", receipt, "--input", str(harness.state / file), *more)


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_int8_model_is_made_again_from_what_it_states(
    harness: GatewayHarness, version: str
) -> None:
    found = shown(harness, "derive", version, "--model", "digits")
    assert found["ranges"] == "as the INT8 graph states them"
    files = json.loads(harness.command("model", "show", "digits", version, "--json").stdout)[
        "files"
    ]
    digests = {file["file"]: file["digest"] for file in files}
    assert found["int8"] == digests["model.int8.onnx"]
    assert found["fp32"] == digests["model.fp32.onnx"]


def test_the_ranges_are_recorded_again_on_the_data(harness: GatewayHarness) -> None:
    data = str(DATA / "digits.safetensors")
    found = shown(harness, "derive", "1", "--model", "digits", "--data", data)
    assert found["ranges"] == "recorded on the data again"


def test_other_data_are_refused(harness: GatewayHarness) -> None:
    data = str(DATA / "breast-cancer.safetensors")
    words = ("derive", "1", "--model", "digits", "--data", data)
    assert refused(harness, *words) == Reason.DIGEST_MISMATCH.name


def test_the_version_answers_again_bit_for_bit(harness: GatewayHarness) -> None:
    found = shown(harness, *replay(harness))
    assert (found["verdict"], found["answer"]) == ("clean", "equal, bit for bit")
    assert (found["model"], found["version"]) == ("digits", "1")
    # The score and its rank among the clean rows of calibration are those recorded.
    assert harness.gateway is not None
    index = Receipt.decode((harness.state / "receipt.json").read_bytes()).proof.index
    recorded = harness.gateway.recorder.open(index).opened["score"][1]
    assert found["score"] == recorded
    signed = harness.gateway.engine.live()["digits", "production"].ready.detector.calibration
    above = sum(score >= float(recorded) for score in signed.scores)
    share = (above + 1) / (signed.rows + 1)
    assert found["clean_rows_that_score_so_high_at_most"] == pytest.approx(share)
    assert found["calibrated_on"] == signed.rows


def test_another_input_is_refused(harness: GatewayHarness) -> None:
    inputs = rows(count=3)
    np.savetxt(harness.state / "others.csv", inputs[::-1], delimiter=",")
    assert refused(harness, *replay(harness, file="others.csv")) == Reason.RECEIPT_MISMATCH.name
    np.savetxt(harness.state / "narrow.csv", inputs[:, :5], delimiter=",")
    assert refused(harness, *replay(harness, file="narrow.csv")) == Reason.TENSOR_SHAPE.name


def test_a_receipt_that_was_altered_is_refused(harness: GatewayHarness) -> None:
    receipt = (harness.state / "receipt.json").read_text().replace('"clean"', '"suspect"')
    path: Path = harness.state / "altered.json"
    path.write_text(receipt)
    words = ("replay", str(path), "--input", str(harness.state / "rows.csv"))
    assert refused(harness, *words) == Reason.PROOF_INVALID.name
