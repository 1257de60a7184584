"""The command of docs/how-to/http.md, run as it stands but for its port."""

import json
import re
import subprocess

import numpy as np

from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import ROOT, GatewayHarness, labels, rows
from tests.support.oracles.programs import program


def test_curl(harness: GatewayHarness) -> None:
    program("curl")
    page = (ROOT / "docs" / "how-to" / "http.md").read_text()
    (command,) = re.findall(r"^```sh\n(curl .*?)^```", page, re.MULTILINE | re.DOTALL)
    command = command.replace(":8446", f":{harness.gateway.ports['http']}")
    np.savetxt(harness.state / "rows.csv", rows(), delimiter=",", fmt="%g")
    done = subprocess.run(
        ["sh", "-euc", command],
        cwd=harness.state.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [np.argmax(answer["outputs"][0]["data"])] == labels().tolist()
    receipt = Receipt.decode(answer["parameters"]["receipt"].encode())
    verify_receipt(receipt, harness.governance("client").policy())
