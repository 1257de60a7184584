"""MLflow's own stores and server: a model is published by its URI, with its run as evidence."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer

from demo.stage import free_ports
from publishing.evidence.signing import TRAINING
from publishing.ready.mlflow import read_mlflow
from registry.sandbox.confinement import Confinement
from sealgate.reasons import Reason
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.oracles.programs import own_python_with, run

WRITER = Path(__file__).with_name("mlflow_runs.py")
PATIENCE = 120.0


@dataclass(frozen=True)
class Tracking:
    """A tracking store or server that holds the models of mlflow_runs.py."""

    python: str
    environment: Mapping[str, str]
    names: Mapping[str, str]

    def download(self, uri: str, place: Path) -> subprocess.CompletedProcess[str]:
        """By `download` alone, in MLflow's environment; prints the folder, or the reason."""
        code = (
            "import sys; from pathlib import Path; from sealgate.reasons import SealgateError\n"
            "from publishing.ready.mlflow_download import download\n"
            "try: print(download(sys.argv[1], Path(sys.argv[2]), 120))\n"
            "except SealgateError as refusal: sys.exit(str(refusal))\n"
        )
        return run([self.python, "-c", code, uri, place], environment=self.environment)


def written(python: str, place: Path, uri: str, **settings: str) -> Tracking:
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **settings,
    }
    done = subprocess.run(
        [python, WRITER], env=environment, cwd=place, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return Tracking(python, environment, json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def server(python: str, place: Path) -> Iterator[str]:
    """MLflow's tracking server, which keeps the files too."""
    port = free_ports()
    command = [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{place / 'mlflow.db'}", "--workers", "1"]
    command += ["--artifacts-destination", str(place / "files")]
    with (place / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=place)
    try:
        for _ in range(int(PATIENCE)):
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (URLError, OSError):
                assert process.poll() is None, (place / "server.log").read_text()
                time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module", params=["sqlite", "files", "server"])
def tracking(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Tracking]:
    python = own_python_with("mlflow")
    place = tmp_path_factory.mktemp(request.param)
    if request.param == "server":
        with server(python, place) as uri:
            yield written(python, place, uri)
    elif request.param == "files":
        yield written(python, place, (place / "mlruns").as_uri(), MLFLOW_ALLOW_FILE_STORE="true")
    else:
        yield written(python, place, f"sqlite:///{place / 'mlflow.db'}")


def evidence(harness: GatewayHarness, model: str) -> Any:
    version = harness.registry("auditor").GetVersion(
        GetVersionRequest(name=f"models/{model}/versions/1")
    )
    items = [Evidence.decode(Envelope.decode(e).payload) for e in version.version.evidence]
    (body,) = [item.body for item in items if item.kind == TRAINING]
    return body["predicate"]["buildDefinition"]


def test_a_registered_model_is_published_with_its_run_as_evidence(
    tracking: Tracking, tmp_path: Path
) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    save_file({"x": x.astype("float32"), "y": y}, tmp_path / "rows.safetensors")
    with running(tmp_path / "state") as harness:
        words = ["--data", tmp_path / "rows.safetensors", "--json"]
        command = [Path(tracking.python).with_name("sealgate"), "--state", harness.state]
        command += ["import", "mlflow", "models:/credit@champion", *words]
        done = run(command, environment=tracking.environment)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["model"] == "credit"
        found = evidence(harness, "credit")
    said = found["externalParameters"]
    assert said["source"] == "models:/credit/1"
    assert said["metrics"] == {"auc": "0.975", "val/accuracy": "0.9"}
    assert said["mlflow"]["run_id"] == tracking.names["run"]
    assert "float32" in said["mlflow"]["signature"]
    assert "input_example.json" in said["mlflow"]["saved_input_example_info"]
    assert said["model_signature"] == "unsigned"
    names = {each["name"] for each in found["resolvedDependencies"]}
    assert {"MLmodel", "model.onnx", "input_example.json"} <= names
    assert any(name.endswith(".data") for name in names)


def test_each_uri_finds_the_same_model(tracking: Tracking, tmp_path: Path) -> None:
    names, found = tracking.names, {}
    for uri in (
        "models:/credit/1",
        "models:/credit/latest",
        f"models:/{names['model']}",
        f"runs:/{names['run']}/scoring",
        f"runs:/{names['run']}/older",
    ):
        place = tmp_path / str(len(found))
        place.mkdir()
        done = tracking.download(uri, place)
        assert done.returncode == 0, done.stderr
        folder = Path(done.stdout.strip())
        found[uri] = folder.name, (folder / "model.onnx").read_bytes()
        assert (folder / "MLmodel").is_file()
        assert (place / "metrics" / "auc").read_text().split()[1] == "0.975"
    assert [name for name, _ in found.values()] == ["credit"] * 2 + ["scoring"] * 2 + ["older"]
    assert len({data for _, data in found.values()}) == 1


@pytest.mark.parametrize(
    ("uri", "reason", "detail"),
    [
        ("models:/debit/1", Reason.FILE_MISSING, "debit"),
        ("models:/credit@nobody", Reason.FILE_MISSING, "nobody"),
        ("runs:/0123/scoring", Reason.FILE_MISSING, "0123"),
        ("runs:/0123", Reason.PARAMETER_MALFORMED, "name the model too"),
        ("runs:/RUN/elsewhere", Reason.FILE_MISSING, "has no files"),
        ("models:/../1", Reason.FILE_MISSING, "MLflow"),
    ],
)
def test_what_is_not_there_is_refused(
    tracking: Tracking, tmp_path: Path, uri: str, reason: Reason, detail: str
) -> None:
    done = tracking.download(uri.replace("RUN", tracking.names["run"]), tmp_path)
    assert done.returncode == 1
    assert reason.name in done.stderr
    assert detail in done.stderr


def test_what_is_downloaded_is_treated_as_a_folder(tracking: Tracking, tmp_path: Path) -> None:
    """Python objects are refused, and not read."""
    done = tracking.download(f"runs:/{tracking.names['objects']}/objects", tmp_path)
    assert done.returncode == 0, done.stderr
    with refused(Reason.FORMAT_REFUSED) as found:
        read_mlflow(Path(done.stdout.strip()), Confinement())
    assert "the sklearn flavour is Python objects" in found.value.detail
