"""`tritonclient` asks by texts, unchanged; see the gateway's test of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from sealgate.tensors import read_outputs
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.builders.models.text_models import question, sentences
from tests.support.oracles.programs import python_with, run

pytestmark = pytest.mark.slow


def test_tritonclient_sends_texts(harness) -> None:
    texts = [*sentences(40, 6)[0], "", "Grüße 日本"]
    client = harness.profile("client")
    arguments = [
        client.endpoint.replace("127.0.0.1", "localhost"),
        client.server_authority,
        client.token.read_text(),
    ]
    program = Path(__file__).with_name("triton_texts.py")
    done = run([python_with("tritonclient"), program, *arguments], json.dumps(texts))
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["datatype"] == "BYTES"
    expected = read_outputs(harness.inference().ModelInfer(question(*texts)))["logits"].data
    assert np.array_equal(np.array(seen["logits"], np.float32), expected)
    verify_receipt(Receipt.decode(seen["receipt"].encode()), harness.governance("client").policy())
