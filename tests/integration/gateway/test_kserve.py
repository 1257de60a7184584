"""KServe's own Python client works unchanged. It brings 450 MB, so its environment is its own and
the test is for those who have it: `make oracle-kserve`.
"""

import json
from pathlib import Path

from sealgate.reasons import Reason
from sealgate.tensors import read_outputs
from tests.support.harness.gateway import question, rows
from tests.support.oracles.programs import own_python_with, run


def test_kserves_client_works_unchanged(harness):
    profile = harness.profile("client")
    sent = rows(count=3)
    done = run(
        [
            own_python_with("kserve"),
            Path(__file__).with_name("kserve_client.py"),
            profile.endpoint.replace("127.0.0.1", "localhost"),
            profile.server_authority,
            profile.token.read_text(),
        ],
        json.dumps(sent.tolist()),
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["live"]
    assert seen["ready"]
    assert seen["model_ready"]
    assert (seen["ids"], seen["version"], seen["receipt"]) == (["raw", "typed"], "1", True)
    answer = harness.inference().ModelInfer(question("digits", sent), timeout=60)
    ours = read_outputs(answer)["logits"].data.tolist()
    assert seen["logits"] == [ours, ours]
    assert seen["refused"] == ["UNAUTHENTICATED", Reason.CREDENTIAL_MISSING.sentence]
