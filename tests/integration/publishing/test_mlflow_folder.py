"""An MLflow model folder, as MLflow 2 writes it, is published with what MLflow says of it."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skl2onnx
import xgboost
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from publishing.evidence.signing import TRAINING
from publishing.ready.mlflow import read_mlflow
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.harness.gateway import running

X, Y = load_breast_cancer(return_X_y=True)
X = X.astype(np.float32)
HEAD = """
artifact_path: model
mlflow_version: 2.14.1
run_id: 3f2a
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 30]}}]'
flavors:
  python_function: {loader_module: mlflow.onnx}
"""


def written(folder: Path, flavour: str, name: str, data: bytes) -> Path:
    """A run's folder with its metrics; returns the model's."""
    model = folder / "run" / "artifacts" / "credit"
    model.mkdir(parents=True)
    (model / "MLmodel").write_text(f"{HEAD}  {flavour}: {{data: {name}}}\n")
    (model / name).write_bytes(data)
    (folder / "run" / "metrics").mkdir()
    (folder / "run" / "metrics" / "auc").write_text("1700000000 0.5 0\n1700000001 0.975 1\n")
    return model


def linear() -> bytes:
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[::2], Y[::2])
    return bytes(skl2onnx.to_onnx(fitted, X[:1]).SerializeToString())


def test_it_is_published_with_run_metrics_and_signature_as_evidence(tmp_path: Path) -> None:
    written(tmp_path, "onnx", "model.onnx", data := linear())
    save_file({"x": X, "y": Y}, tmp_path / "data.safetensors")
    with running(tmp_path / "state") as harness:
        words = ("--data", str(tmp_path / "data.safetensors"), "--propose", "--json")
        result = harness.command("import", "mlflow", str(tmp_path / "run"), *words)
        assert result.exit_code == 0, result.output
        told = json.loads(result.stdout)
        assert told["model"] == "credit"
        approval = harness.governance("approver-1").approve(told["proposal"], "read")
        assert approval.digest == told["proposal"]
        request = GetVersionRequest(name="models/credit/versions/1")
        version = harness.registry("auditor").GetVersion(request).version
    items = [Evidence.decode(Envelope.decode(each).payload) for each in version.evidence]
    (body,) = [item.body for item in items if item.kind == TRAINING]
    assert body["subject"][0]["digest"]["sha256"] == sha256(data).removeprefix("sha256:")
    said = body["predicate"]["buildDefinition"]["externalParameters"]
    assert said["metrics"] == {"auc": "0.975"}
    assert said["mlflow"]["run_id"] == "3f2a"
    assert said["model_signature"] == "unsigned"


@pytest.mark.slow
def test_a_booster_is_converted_in_a_worker(tmp_path: Path) -> None:
    fitted = xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(X[::2], Y[::2])
    native = bytes(fitted.get_booster().save_raw("ubj"))
    found = read_mlflow(written(tmp_path, "xgboost", "model.ubj", native), Confinement())
    assert found.onnx.startswith(b"\x08")


def a_booster() -> Any:
    fitted = xgboost.XGBClassifier(n_estimators=2, max_depth=3).fit(X[::2], Y[::2])
    return json.loads(fitted.get_booster().save_raw("json"))


def damaged(what: str) -> bytes:
    """A booster whose first tree is damaged."""
    booster = a_booster()
    tree = booster["learner"]["gradient_booster"]["model"]["trees"][0]
    if what == "cut short":
        return json.dumps(booster).encode()[:2000]
    if what == "a circle":
        tree["left_children"][1] = 0
    elif what == "too few":
        tree["left_children"] = []
    else:
        tree["split_conditions"][0] = float(what)
    return json.dumps(booster).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("cut short", Reason.FORMAT_REFUSED),
        ("too few", Reason.FORMAT_REFUSED),
        ("nan", Reason.FORMAT_REFUSED),
        # xgboost follows it until its stack is used up.
        ("a circle", Reason.WORKER_FAILED),
    ],
)
def test_a_damaged_booster_is_refused_by_its_name(
    tmp_path: Path, what: str, reason: Reason
) -> None:
    """And with what is wrong, not where in its own code xgboost found it."""
    with pytest.raises(SealgateError) as refused:
        read_mlflow(written(tmp_path, "xgboost", "model.json", damaged(what)), Confinement())
    assert refused.value.reason is reason
    assert refused.value.detail.startswith("model.json: ")
    assert not re.search(r"Stack trace|\.cc|\.so", refused.value.detail)


def metrics(model: Path) -> Any:
    statement = read_mlflow(model, Confinement()).origin.statement
    return statement["predicate"]["buildDefinition"]["externalParameters"]["metrics"]


def test_only_the_metrics_of_its_own_run_are_told(tmp_path: Path) -> None:
    model = written(tmp_path, "onnx", "model.onnx", linear())
    (tmp_path / "run" / "metrics" / "val").mkdir()
    (tmp_path / "run" / "metrics" / "val" / "auc").write_text("1700000001 0.9 1\n")
    assert metrics(model) == {"auc": "0.975", "val/auc": "0.9"}
    # A folder of this name may lie above a model that is in no run.
    other = model.parent.rename(tmp_path / "run" / "models") / "credit"
    assert metrics(other) == {}


def test_a_logged_models_own_metrics_are_told(tmp_path: Path) -> None:
    """MLflow 3 keeps a model in `models/m-…/artifacts`, and its metrics beside that."""
    model = written(tmp_path, "onnx", "model.onnx", linear())
    logged = tmp_path / "m-3f2a"
    logged.mkdir()
    model.rename(logged / "artifacts")
    (tmp_path / "run" / "metrics").rename(logged / "metrics")
    assert metrics(logged / "artifacts") == {"auc": "0.975"}


def test_a_signature_that_nobody_verified_is_called_so(tmp_path: Path) -> None:
    model = written(tmp_path, "onnx", "model.onnx", linear())
    (model / "model.sig").write_text("{}")
    statement = read_mlflow(model, Confinement()).origin.statement
    said: Any = statement["predicate"]["buildDefinition"]["externalParameters"]
    assert said["model_signature"] == "not verified: model.sig"


@pytest.mark.parametrize(
    ("flavour", "name", "reason", "detail"),
    [
        ("sklearn", "model.pkl", Reason.FORMAT_REFUSED, "the sklearn flavour is Python objects"),
        ("pytorch", "model.pth", Reason.FORMAT_REFUSED, "none is onnx or xgboost"),
        ("onnx", "../other.onnx", Reason.PATH_UNSAFE, "MLmodel names ../other.onnx"),
    ],
)
def test_what_is_not_read_is_refused(
    tmp_path: Path, flavour: str, name: str, reason: Reason, detail: str
) -> None:
    model = written(tmp_path, flavour, name, b"")
    with pytest.raises(SealgateError) as refused:
        read_mlflow(model, Confinement())
    assert refused.value.reason is reason
    assert detail in refused.value.detail


@pytest.mark.parametrize(
    "text",
    ["", "flavors: 1", "[", "a: &a [1]\nflavors: {onnx: *a}", "flavors: !!python/name:os {}"],
)
def test_what_is_no_mlmodel_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(SealgateError) as refused:
        read_mlflow(tmp_path, Confinement())
    assert refused.value.reason is Reason.FORMAT_REFUSED


@pytest.mark.parametrize(
    "value", ["0x" + "f" * 20_000, "1" + ":59" * 200_000, "[" * 300_000, "\n" + "? " * 300_000]
)
def test_values_whose_reading_takes_long_are_refused(tmp_path: Path, value: str) -> None:
    """Such an integer was read, and then ended the command with a trace; brackets took hours."""
    (tmp_path / "MLmodel").write_text(f"flavors: {{onnx: {{data: model.onnx}}}}\nrun_id: {value}\n")
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(SealgateError) as refused:
        read_mlflow(tmp_path, Confinement())
    assert refused.value.reason is Reason.FORMAT_REFUSED
    assert "MLmodel: it " in refused.value.detail
