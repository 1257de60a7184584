"""A model that people already have: an ONNX file and its data, published, approved and served."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skl2onnx
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from publishing.evidence.signing import WATERMARK_CHECK
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import FLOAT32, INT8
from sealgate.trust.statements import Evidence
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.harness.gateway import GatewayHarness, refusal, running
from tests.support.oracles.programs import python_with, run

pytestmark = pytest.mark.slow

X, Y = load_breast_cancer(return_X_y=True)
X = X.astype(np.float32)
ASKED = X[::15]


LOSS = 0.05
"""By how much a watermark may move a probability, on the mean of the asked rows."""


@pytest.fixture(scope="module")
def models() -> dict[str, Pipeline]:
    """Columns as they are measured, from thousandths to thousands: a network behind a scaler, and
    a forest, which has no gradient.
    """
    network = MLPClassifier((160, 100), max_iter=60, random_state=0)
    kinds = {"network": network, "forest": RandomForestClassifier(20, random_state=0)}
    return {
        name: make_pipeline(StandardScaler(), k).fit(X[::2], Y[::2]) for name, k in kinds.items()
    }


@pytest.fixture(scope="module")
def governed(models: dict[str, Pipeline], tmp_path_factory: pytest.TempPathFactory):
    """A gateway that serves them, and what publishing said of each."""
    folder, told = tmp_path_factory.mktemp("ready"), {}
    save_file({"x": X, "y": Y}, folder / "data.safetensors")
    with running(folder / "state") as harness:
        for name, model in models.items():
            file = folder / f"{name}.onnx"
            file.write_bytes(skl2onnx.to_onnx(model, X[:1]).SerializeToString())
            words = ("--data", str(folder / "data.safetensors"), "--labels", "malignant,benign")
            result = harness.command("model", "publish", str(file), *words, "--json")
            assert result.exit_code == 0, result.output
            told[name] = json.loads(result.stdout)
            harness.promote(name, 1)
        yield harness, told


Governed = tuple[GatewayHarness, dict[str, dict[str, Any]]]


def test_publishing_says_what_a_model_answers_in_and_loses_little(governed: Governed) -> None:
    for name, told in governed[1].items():
        assert told["model"] == name
        # The watermark may move rows that lie on the boundary.
        assert told[f"accuracy_{FLOAT32}"] >= told["accuracy_source"] - 0.02
    assert governed[1]["network"]["watermark_payload"] == "presence only"


def test_checking_tells_what_publishing_would_come_to_and_registers_nothing(
    governed: Governed, models: dict[str, Pipeline], tmp_path: Path
) -> None:
    harness = governed[0]
    save_file({"x": X, "y": Y}, tmp_path / "data.safetensors")
    file = tmp_path / "unseen.onnx"
    file.write_bytes(skl2onnx.to_onnx(models["network"], X[:1]).SerializeToString())
    words = ("model", "check", str(file), "--data", str(tmp_path / "data.safetensors"), "--json")
    result = harness.command(*words)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert "screened by the gradient" in told["takes"]
    for precision in (FLOAT32, INT8):
        assert told[f"{precision}_accuracy"] > 0.9
        assert told[f"{precision}_attacks_auroc_mean"] > 0.8
        assert told[f"{precision}_watermark"].startswith("z = ")
    request = GetVersionRequest(name="models/unseen/versions/1")
    assert refusal(harness.registry("auditor").GetVersion, request) is Reason.MODEL_UNKNOWN


def test_the_evidence_says_that_a_forest_carries_no_watermark(governed: Governed) -> None:
    harness, told = governed
    assert told["forest"]["watermark_payload"] == "none: 0 weights are too few"
    request = GetVersionRequest(name="models/forest/versions/1")
    version = harness.registry("auditor").GetVersion(request).version
    items = [Evidence.decode(Envelope.decode(data).payload) for data in version.evidence]
    (body,) = [item.body for item in items if item.kind == WATERMARK_CHECK]
    assert (body["carried"], body["weights"]) == (False, 0)
    assert body["statement"] == "no watermark: 0 weights can carry one, 15000 must"


@pytest.mark.parametrize(("name", "loss"), [("network", LOSS), ("forest", 1e-5)])
def test_tritonclient_gets_the_models_own_probabilities(
    governed: Governed, models: dict[str, Pipeline], name: str, loss: float
) -> None:
    harness = governed[0]
    client = harness.profile("client")
    endpoint = client.endpoint.replace("127.0.0.1", "localhost")
    words = [endpoint, client.server_authority, client.token.read_text(), name]
    program = Path(__file__).with_name("triton_rows.py")
    done = run([python_with("tritonclient"), program, *words], json.dumps(ASKED.tolist()))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    expected = models[name].predict_proba(ASKED)
    pairs = [(*pair[0], pair[1]) for pair in zip(found, expected, strict=True) if pair[0]]
    # Screening may refuse rows, but not most of them.
    assert len(pairs) > len(ASKED) // 2
    assert np.mean([np.abs(answer - own).max() for answer, _, own in pairs]) < loss
    receipt = Receipt.decode(pairs[0][1].encode())
    fields = verify_receipt(receipt, harness.governance("client").policy()).fields
    assert (fields["model"], fields["arithmetic"]) == (name, FLOAT32)


@pytest.mark.parametrize(
    ("labels", "refused"),
    [
        ("malignant,benign", "0 distinct requests, 59 are the least"),
        ("bad,good", "models/forest/versions/1 was made from another model.json"),
    ],
)
def test_a_files_version_is_recalibrated_from_the_same_file_and_words_alone(
    governed: Governed, models: dict[str, Pipeline], tmp_path: Path, labels: str, refused: str
) -> None:
    """There is no traffic yet, so that the right ones are refused for that."""
    save_file({"x": X, "y": Y}, tmp_path / "data.safetensors")
    file = tmp_path / "forest.onnx"
    file.write_bytes(skl2onnx.to_onnx(models["forest"], X[:1]).SerializeToString())
    words = ["--data", str(tmp_path / "data.safetensors"), "--labels", labels]
    words += ["--features", str(tmp_path), "--model", "forest", "--from-version", "1"]
    result = governed[0].command("screen", "recalibrate", str(file), *words)
    assert result.exit_code != 0
    assert refused in result.output


def test_options_that_describe_a_file_are_refused_for_a_folder(
    governed: Governed, tmp_path: Path
) -> None:
    save_file({"x": X, "y": Y}, tmp_path / "data.safetensors")
    words = ("--data", str(tmp_path / "data.safetensors"), "--labels", "no,yes")
    for command in ("publish", "check"):
        result = governed[0].command("model", command, str(tmp_path), *words)
        assert result.exit_code == 2
        assert "--labels describes a file; a folder has its model.json" in result.stderr


def test_checking_draws_what_is_flagged_and_refuses_what_publishing_would(
    governed: Governed, models: dict[str, Pipeline], tmp_path: Path
) -> None:
    save_file({"x": X[:300], "y": Y[:300]}, tmp_path / "data.safetensors")
    file, plot = tmp_path / "forest.onnx", tmp_path / "check.svg"
    file.write_bytes(skl2onnx.to_onnx(models["forest"], X[:1]).SerializeToString())
    words = ("--data", str(tmp_path / "data.safetensors"), "--plot", str(plot), "--json")
    result = governed[0].command("model", "check", str(file), *words)
    assert result.exit_code == 0, result.output
    drawn = plot.read_text()
    assert "<svg" in drawn
    assert f"answers in {FLOAT32}" in drawn or "<path" in drawn
