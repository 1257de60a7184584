"""`tritonclient[http]` works unchanged. It runs in a process and an environment of its own."""

import json
from pathlib import Path

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import parameters_digest
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import GatewayHarness, labels, rows
from tests.support.oracles.programs import python_with, run

PROGRAM = Path(__file__).with_name("triton_http.py")


def as_asked() -> oip.ModelInferRequest:
    """Return the program's request with a receipt, without its tensors."""
    request = oip.ModelInferRequest()
    request.parameters["receipt"].bool_param = True
    request.parameters["nonce"].string_param = "AAECAwQFBgcICQoLDA0ODw"
    request.parameters["priority"].int64_param = 1
    request.parameters["timeout"].int64_param = 50_000_000
    request.outputs.add(name="logits")
    return request


def test_tritonclient(harness: GatewayHarness) -> None:
    client, auditor = harness.profile("client"), harness.profile("auditor")
    done = run(
        [
            python_with("geventhttpclient"),
            PROGRAM,
            f"localhost:{harness.gateway.ports['http']}",
            client.server_authority,
            client.token.read_text().strip(),
            auditor.certificate,
            auditor.certificate_key,
        ],
        json.dumps(rows(count=3).tolist()),
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["live"]
    assert seen["ready"]
    assert seen["model ready"]
    assert not seen["nobody ready"]
    assert "binary_tensor_data" in seen["server"]["extensions"]
    assert [each["name"] for each in seen["metadata"]["inputs"]] == ["x"]
    assert seen["config"]["max_batch_size"] > 0
    (statistics,) = seen["statistics"]["model_stats"]
    assert statistics["inference_count"] >= 24
    assert seen["index"] == [{"name": "digits", "version": "1", "state": "READY", "reason": ""}]
    # The same rows, however they and their answer travel.
    assert len(seen["logits"]) == 7
    assert all(logits == seen["logits"][0] for logits in seen["logits"])
    classes = [row.index(max(row)) for row in seen["logits"][0]]
    assert classes == labels(count=3).tolist()
    assert seen["id"] == "7"
    receipt = Receipt.decode(seen["receipt"].encode())
    fields = verify_receipt(receipt, harness.governance("client").policy()).fields
    assert (fields["alias"], fields["request_id"]) == ("production", "7")
    assert fields["parameters"] == parameters_digest(as_asked())
    assert seen["unknown"] == ["404", Reason.MODEL_UNKNOWN.sentence]
    assert seen["anonymous"] == ["401", Reason.CREDENTIAL_MISSING.sentence]
    assert seen["load"] == seen["unload"] == ["403", Reason.PROMOTION_ONLY.sentence]
    assert seen["shared memory"] == ["404", Reason.PATH_UNKNOWN.sentence]
