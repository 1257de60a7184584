"""A ready file's version is recalibrated on the traffic that its gateway kept, and serves."""

import json
from pathlib import Path

import grpc
import numpy as np
import pytest
import skl2onnx
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.tensors import Tensor, write_inputs
from tests.support.harness.gateway import GatewayHarness

pytestmark = pytest.mark.long

X, Y = load_breast_cancer(return_X_y=True)
X = X.astype(np.float32)
ASKED = X[:200]


def ask(harness: GatewayHarness, rows: np.ndarray) -> str:
    """The version that answered, or why none did."""
    request = oip.ModelInferRequest(model_name="tumours")
    write_inputs(request, [Tensor.of("X", rows)])
    try:
        return harness.inference().ModelInfer(request, timeout=60).model_version
    except grpc.RpcError as error:
        reason = reason_of(error)
        assert reason is not None
        return reason.name


def test_its_thresholds_rest_on_traffic(tmp_path: Path) -> None:
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[::2], Y[::2])
    file = tmp_path / "tumours.onnx"
    file.write_bytes(skl2onnx.to_onnx(fitted, X[:1]).SerializeToString())
    save_file({"x": X, "y": Y}, tmp_path / "data.safetensors")
    of_file = (str(file), "--data", str(tmp_path / "data.safetensors"))
    harness = GatewayHarness(tmp_path / "state")
    with (harness.state / "gateway.toml").open("a") as config:
        config.write('\n[features]\nfolder = "features"\n')
    harness.start()
    try:
        told = harness.command("model", "publish", *of_file)
        assert told.exit_code == 0, told.output
        harness.promote("tumours", 1)
        # Refused requests count too.
        asked = {ask(harness, rows) for rows in np.split(ASKED, 20)}
        assert asked <= {"1", Reason.ADVERSARIAL_INPUT.name}
        # A gateway that ends writes what it has kept.
        harness.stop()
        harness.start()
        words = ("--features", str(harness.state / "features"), "--model", "tumours")
        told = harness.command("screen", "recalibrate", *of_file, *words, "--from-version", "1")
        assert told.exit_code == 0, told.output
        assert f"{len(ASKED)} requests of tumours 1" in told.output
        shown = harness.command("model", "show", "tumours", "2", "--json")
        bodies = {e["kind"]: e["body"] for e in json.loads(shown.stdout)["evidence"]}
        report = bodies["screening-report"]
        assert report["calibrated_on_traffic"] == report["recalibration"]["distinct"] > 100
        harness.promote("tumours", 2)
        harness.await_version("tumours", 2)
        assert "2" in {ask(harness, row) for row in np.split(ASKED[:20], 20)}
    finally:
        harness.stop()
