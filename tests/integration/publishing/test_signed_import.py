"""A folder that a Sigstore identity signed is published by the policy's word, and by it alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import skl2onnx
from click.testing import Result
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from publishing.evidence.signing import TRAINING
from sealgate.reasons import Reason
from sealgate.trust.canonical import sha256
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Evidence
from sealgate.v1.registry_pb2 import GetVersionRequest
from tests.support.builders.documents.sigstore_instance import SigstoreInstance, model_statement
from tests.support.harness.gateway import GatewayHarness, running
from tests.support.harness.policy_changes import document, follow, root, send, signed
from tests.support.oracles import programs

pytestmark = pytest.mark.slow

WHO, ISSUER = "release@lab.example", "https://accounts.lab.example"


def written(place: Path, instance: SigstoreInstance) -> None:
    """A signed MLflow folder, its rows and the trusted root."""
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    graph = skl2onnx.to_onnx(LogisticRegression(max_iter=5000).fit(x[::2], y[::2]), x[:1])
    files = {
        "MLmodel": b"flavors: {onnx: {data: model.onnx}}\n",
        "model.onnx": graph.SerializeToString(),
    }
    (place / "credit").mkdir()
    for name, data in files.items():
        (place / "credit" / name).write_bytes(data)
    bundle = instance.bundle(model_statement(files), WHO, ISSUER)
    (place / "credit" / "model.sig").write_text(json.dumps(bundle))
    (place / "trusted_root.json").write_bytes(instance.root)
    save_file({"x": x, "y": y}, place / "rows.safetensors")


def imported(harness: GatewayHarness, place: Path, *words: str) -> Result:
    rows = ("--data", str(place / "rows.safetensors"))
    return harness.command("import", "mlflow", str(place / "credit"), *rows, *words)


def test_the_policy_says_whose_signature_counts(tmp_path: Path) -> None:
    programs.package("sigstore")
    instance = SigstoreInstance()
    written(tmp_path, instance)
    trusted = ("--trusted-root", str(tmp_path / "trusted_root.json"))
    with running(tmp_path / "state") as harness:
        refused = imported(harness, tmp_path, *trusted)
        assert refused.exit_code == 1
        assert Reason.SIGNER_MISMATCH.name in refused.output
        assert "the policy lists none" in refused.output
        lab = {"identity": WHO, "issuer": ISSUER, "trusted_root": sha256(instance.root)}
        kept = document(harness)
        changed = kept | {"model_signers": {"lab": lab}}
        send(harness, signed(changed, root(harness, 1), root(harness, 2)))
        follow(harness, kept["version"])
        refused = imported(harness, tmp_path)
        assert refused.exit_code == 1
        assert "--trusted-root" in refused.output
        done = imported(harness, tmp_path, *trusted)
        assert done.exit_code == 0, done.output
        request = GetVersionRequest(name="models/credit/versions/1")
        version = harness.registry("auditor").GetVersion(request).version
    items = [Evidence.decode(Envelope.decode(each).payload) for each in version.evidence]
    (body,) = [item.body for item in items if item.kind == TRAINING]
    said = body["predicate"]["buildDefinition"]["externalParameters"]["model_signature"]
    assert said.startswith(f"verified: model.sig by lab, {WHO} of {ISSUER}, root sha256:")
