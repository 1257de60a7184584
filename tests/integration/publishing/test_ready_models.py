"""A model that people already have: an ONNX file and its data, published, approved and served."""

import json
from pathlib import Path

import numpy as np
import pytest
import skl2onnx
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import FLOAT32
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.oracles.programs import python_with, run

X, Y = load_breast_cancer(return_X_y=True)
X = X.astype(np.float32)
ASKED = X[::15]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """Columns as they are measured, from thousandths to thousands, and a scaler within."""
    network = MLPClassifier((160, 100), max_iter=60, random_state=0)
    return make_pipeline(StandardScaler(), network).fit(X[::2], Y[::2])


@pytest.fixture(scope="module")
def files(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ready")
    (folder / "tumours.onnx").write_bytes(skl2onnx.to_onnx(pipeline, X[:1]).SerializeToString())
    save_file({"x": X, "y": Y}, folder / "data.safetensors")
    return folder


@pytest.fixture(scope="module")
def governed(files: Path, tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("governed") / "state") as harness:
        words = ("--data", str(files / "data.safetensors"), "--labels", "malignant,benign")
        result = harness.command("model", "publish", str(files / "tumours.onnx"), *words, "--json")
        assert result.exit_code == 0, result.output
        harness.promote("tumours", 1)
        yield harness, json.loads(result.stdout)


def test_publishing_says_what_the_model_answers_in_and_loses_little(
    governed: tuple[GatewayHarness, dict],
) -> None:
    told = governed[1]
    assert told["model"] == "tumours"
    # The watermark may move rows that lie on the boundary.
    assert told[f"accuracy_{FLOAT32}"] >= told["accuracy_source"] - 0.02
    assert told["watermark_payload"] == "presence only"


def test_tritonclient_gets_the_pipelines_own_probabilities(
    governed: tuple[GatewayHarness, dict], pipeline: Pipeline
) -> None:
    harness = governed[0]
    client = harness.profile("client")
    endpoint = client.endpoint.replace("127.0.0.1", "localhost")
    words = [endpoint, client.server_authority, client.token.read_text(), "tumours"]
    program = Path(__file__).with_name("triton_rows.py")
    done = run([python_with("tritonclient"), program, *words], json.dumps(ASKED.tolist()))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    expected = pipeline.predict_proba(ASKED)
    pairs = [(*pair[0], pair[1]) for pair in zip(found, expected, strict=True) if pair[0]]
    # Screening may refuse rows, but not most of them.
    assert len(pairs) > len(ASKED) // 2
    # The watermark moves each weight by less than a tenth of their spread.
    assert np.mean([np.abs(answer - own).max() for answer, _, own in pairs]) < 0.05
    receipt = Receipt.decode(pairs[0][1].encode())
    fields = verify_receipt(receipt, harness.governance("client").policy()).fields
    assert (fields["model"], fields["arithmetic"]) == ("tumours", FLOAT32)
