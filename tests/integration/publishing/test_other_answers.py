"""Ready models that answer numbers or several labels: published, served, reduced, replayed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skl2onnx
from safetensors.numpy import save_file
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from publishing.evidence.signing import GOLDEN_RUN, ML_BOM, SCREENING_REPORT
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.oracles.programs import python_with, run

pytestmark = pytest.mark.slow

X, PROGRESS = load_diabetes(return_X_y=True)
X = X.astype(np.float32)
# Two numbers: how the disease went on, and a made-up dose that depends on three columns.
Y = np.stack([PROGRESS, 40 * X[:, 2] + 20 * X[:, 8] - 10 * X[:, 3]], axis=1).astype(np.float32)
HELD = np.stack([Y[:, 0] > 150, X[:, 2] > 0, X[:, 8] + X[:, 3] > 0], axis=1).astype(np.int64)
ASKED = X[::20]


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    forest = RandomForestRegressor(20, max_depth=6, random_state=0).fit(X[::2], Y[::2])
    network = MLPClassifier((32,), max_iter=150, random_state=0)
    labels = make_pipeline(StandardScaler(), network).fit(X[::2], HELD[::2])
    return {"dose": forest, "labels": labels}


@pytest.fixture(scope="module")
def governed(models: dict[str, Any], tmp_path_factory: pytest.TempPathFactory):
    folder, told = tmp_path_factory.mktemp("answers"), {}
    rows = {"dose": {"x": X, "y": Y}, "labels": {"x": X, "y": HELD}}
    with running(folder / "state") as harness:
        for name, model in models.items():
            file, data = folder / f"{name}.onnx", folder / f"{name}.safetensors"
            options = {id(model): {"zipmap": False}} if name == "labels" else None
            file.write_bytes(skl2onnx.to_onnx(model, X[:1], options=options).SerializeToString())
            save_file(rows[name], data)
            result = harness.command("model", "publish", str(file), "--data", str(data), "--json")
            assert result.exit_code == 0, result.output
            told[name] = json.loads(result.stdout)
            harness.promote(name, 1)
        yield harness, told


Governed = tuple[GatewayHarness, dict[str, dict[str, Any]]]


def evidence(harness: GatewayHarness, name: str) -> dict[str, Any]:
    request = GetVersionRequest(name=f"models/{name}/versions/1")
    version = harness.registry("auditor").GetVersion(request).version
    items = [Evidence.decode(Envelope.decode(data).payload) for data in version.evidence]
    return {item.kind: item.body for item in items}


def test_a_regressor_is_measured_by_what_it_predicts(governed: Governed) -> None:
    harness, _ = governed
    found = evidence(harness, "dose")
    card = found[ML_BOM]["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["task"] == "regression"
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    assert {each["type"] for each in metrics} == {"r2"}
    assert found[GOLDEN_RUN]["same_class_as_fp32"] == 1
    attacks = found[SCREENING_REPORT]["attacks"].values()
    assert max(each["succeeded"] for each in attacks) > 0.2


def test_evidence_calls_several_labels_what_they_are(governed: Governed) -> None:
    harness, told = governed
    card = evidence(harness, "labels")[ML_BOM]["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["task"] == "multi-label classification"
    assert told["labels"]["accuracy_float32"] > 0.8


def test_tritonclient_gets_the_models_own_answers(
    governed: Governed, models: dict[str, Any]
) -> None:
    harness, _ = governed
    client = harness.profile("client")
    endpoint = client.endpoint.replace("127.0.0.1", "localhost")
    expected = {
        "dose": models["dose"].predict(ASKED),
        "labels": models["labels"].predict_proba(ASKED),
    }
    program = Path(__file__).with_name("triton_rows.py")
    for name, own in expected.items():
        words = [endpoint, client.server_authority, client.token.read_text(), name]
        done = run([python_with("tritonclient"), program, *words], json.dumps(ASKED.tolist()))
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        pairs = [(each[0], row) for each, row in zip(found, own, strict=True) if each]
        assert len(pairs) > len(ASKED) // 2
        for answer, row in pairs:
            assert answer == pytest.approx(row, rel=1e-3, abs=1e-4)


def test_checking_a_regressor_tells_what_comes_of_it(tmp_path: Path, governed: Governed) -> None:
    harness, _ = governed
    save_file({"x": X, "y": Y[:, :1]}, tmp_path / "data.safetensors")
    linear = make_pipeline(StandardScaler(), RandomForestRegressor(5, random_state=0))
    file = tmp_path / "one.onnx"
    fitted = linear.fit(X[::2], Y[::2, 0])
    file.write_bytes(skl2onnx.to_onnx(fitted, X[:1]).SerializeToString())
    words = ("--data", str(tmp_path / "data.safetensors"), "--tolerance", "20", "--json")
    result = harness.command("model", "check", str(file), *words)
    assert result.exit_code == 0, result.output
    assert "1 numbers" in json.loads(result.stdout)["takes"]
