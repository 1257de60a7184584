"""`tritonclient` works unchanged. It runs in a process and an environment of its own, since its
generated messages register the same symbols as ours.
"""

import json
from pathlib import Path

from safetensors.numpy import load_file

from sealgate.reasons import Reason
from sealgate.trust.receipt import Receipt, verify_receipt
from tests.support.house import DATA, rows
from tests.support.oracles import python_with, run


def test_tritonclient_works_unchanged(house):
    profile = house.profile("client")
    sent = rows(count=8)
    done = run(
        [
            python_with("tritonclient"),
            Path(__file__).with_name("triton_client.py"),
            profile.endpoint.replace("127.0.0.1", "localhost"),
            profile.server_authority,
            profile.token.read_text(),
        ],
        json.dumps(sent.tolist()),
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    labels = load_file(DATA / "digits.safetensors")["y_test"][:8]
    assert seen["live"]
    assert seen["ready"]
    assert seen["model_ready"]
    assert seen["inputs"] == ["x"]
    assert sum(a == b for a, b in zip(seen["classes"], labels, strict=True)) >= 7
    assert (seen["version"], seen["id"]) == ("1", "7")
    assert Reason.MODEL_UNKNOWN.sentence in seen["refused"]
    receipt = Receipt.decode(seen["receipt"].encode())
    verify_receipt(receipt, house.governance("client").policy())
