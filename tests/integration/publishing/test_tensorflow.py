"""A network of Keras, written as ONNX by TensorFlow's converter: published, and asked."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import running
from tests.support.oracles.programs import own_python_with, python_with, run

TRAINED, ASKED = 900, 20
FOLDER = Path(__file__).parent


def test_it_answers_as_keras_does(tmp_path: Path) -> None:
    keras = own_python_with("tensorflow", "tf2onnx")
    digits = load_digits()
    x = np.ascontiguousarray(digits.images[..., np.newaxis] / 16, np.float32)
    y = digits.target.astype(np.int64)
    file, rows = tmp_path / "digits.onnx", x[TRAINED : TRAINED + ASKED]
    np.savez(tmp_path / "train.npz", x=x[:TRAINED], y=y[:TRAINED], asked=rows)
    made = run([keras, FOLDER / "keras_network.py", tmp_path / "train.npz", file])
    assert made.returncode == 0, made.stderr
    save_file({"x": x[TRAINED:].copy(), "y": y[TRAINED:].copy()}, tmp_path / "data.safetensors")
    with running(tmp_path / "state") as harness:
        data = ("--data", str(tmp_path / "data.safetensors"), "--domain", "0,1")
        done = harness.command("model", "publish", str(file), *data)
        assert done.exit_code == 0, done.output
        harness.promote("digits", 1)
        client = harness.profile("client")
        endpoint = client.endpoint.replace("127.0.0.1", "localhost")
        words = [endpoint, client.server_authority, client.token.read_text(), "digits"]
        asking = [python_with("tritonclient"), FOLDER / "triton_rows.py", *words]
        asked = run(asking, json.dumps(rows.tolist()))
        assert asked.returncode == 0, asked.stderr
        own, found = (json.loads(each.stdout.splitlines()[-1]) for each in (made, asked))
        pairs = [(*answer, expected) for answer, expected in zip(found, own, strict=True) if answer]
        # Screening may refuse rows, but not most of them.
        assert len(pairs) > ASKED // 2
        for answer, receipt, expected in pairs:
            assert np.allclose(answer, expected, atol=1e-5)
            policy = harness.governance("client").policy()
            assert verify_receipt(Receipt.decode(receipt.encode()), policy).fields["version"] == "1"
