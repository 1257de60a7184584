"""`tritonclient` works unchanged. It runs in a process and an environment of its own, since its
generated messages register the same symbols as ours.
"""

import json
from pathlib import Path

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import parameters_digest
from sealgate.trust.receipts import Receipt, verify_receipt
from tests.support.harness.gateway import labels, rows
from tests.support.oracles.programs import caller, python_with, run


def seen_by(program, harness, sent):
    """Return the output of a program that has a client's token and an auditor's certificate."""
    client, auditor = harness.profile("client"), harness.profile("auditor")
    arguments = [
        client.endpoint.replace("127.0.0.1", "localhost"),
        client.server_authority,
        client.token.read_text(),
        auditor.endpoint.replace("127.0.0.1", "localhost"),
        auditor.certificate,
        auditor.certificate_key,
    ]
    done = run(
        [python_with("tritonclient"), Path(__file__).with_name(program), *arguments],
        json.dumps(sent.tolist()),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_tritonclient_works_unchanged(harness):
    seen = seen_by("triton_client.py", harness, rows(count=8))
    expected = labels(count=8)
    assert seen["live"]
    assert seen["ready"]
    assert seen["model_ready"]
    assert seen["inputs"] == ["x"]
    assert sum(a == b for a, b in zip(seen["classes"], expected, strict=True)) >= 7
    assert (seen["version"], seen["id"]) == ("1", "7")
    assert Reason.MODEL_UNKNOWN.sentence in seen["refused"]
    receipt = Receipt.decode(seen["receipt"].encode())
    fields = verify_receipt(receipt, harness.governance("client").policy()).fields
    check_bound(fields, receipt=True, nonce="AAECAwQFBgcICQoLDA0ODw", outputs=("logits",))


def check_bound(fields, outputs, **parameters):
    """The receipt binds what this program asked, and nothing else."""
    asked = oip.ModelInferRequest()
    for name, value in parameters.items():
        kind = "bool_param" if isinstance(value, bool) else "string_param"
        setattr(asked.parameters[name], kind, value)
    for name in outputs:
        asked.outputs.add(name=name)
    assert fields["parameters"] == parameters_digest(asked)
    assert (fields["alias"], fields["request_id"]) == ("production", "7")


def is_refused(found, status, reason):
    return found == [f"StatusCode.{status}", reason.sentence]


def check_refusals(seen):
    assert is_refused(seen["load"], "PERMISSION_DENIED", Reason.PROMOTION_ONLY)
    assert is_refused(seen["unload"], "PERMISSION_DENIED", Reason.PROMOTION_ONLY)
    assert is_refused(seen["too short"], "DEADLINE_EXCEEDED", Reason.DEADLINE_TOO_SHORT)


def test_tritonclient_and_the_protocols_extensions(harness):
    seen = seen_by("triton_extensions.py", harness, rows(count=3))
    config, after, before = seen["config"], seen["after"], seen["before"]
    assert config["name"] == "digits"
    assert [item["data_type"] for item in config["input"]] == ["TYPE_FP32"]
    assert config["dynamic_batching"]["priority_levels"] == "2"
    assert set(seen["extensions"]) == {"model_configuration", "schedule_policy", "statistics"}
    assert {"name": "digits", "version": "1", "state": "READY"} in seen["index"]
    assert {"name": "digits", "version": "1", "state": "READY"} in seen["own index"]
    (own,) = seen["own counts"]
    assert own["inference_count"] == after["inference_count"]
    assert seen["all counts"] == {"model_stats": [own]}
    assert int(after["inference_count"]) - int(before.get("inference_count", 0)) == 15
    assert int(after["execution_count"]) - int(before.get("execution_count", 0)) == 5
    succeeded = int(before["inference_stats"]["success"].get("count", 0))
    assert int(after["inference_stats"]["success"]["count"]) - succeeded == 5
    # The same rows, however they were sent.
    assert all(logits == seen["logits"][0] for logits in seen["logits"])
    assert seen["ids"] == ["", "", "", "gzip", "deflate"]
    check_refusals(seen)
    assert is_refused(seen["no such priority"], "INVALID_ARGUMENT", Reason.PARAMETER_MALFORMED)
    statuses = {name: found and found[0] for name, found in seen["unimplemented"].items()}
    assert len(statuses) == 10
    assert set(statuses.values()) == {"StatusCode.UNIMPLEMENTED"}, statuses


def test_tritonclients_asyncio_client(harness):
    seen = seen_by("triton_aio_client.py", harness, rows(count=2))
    assert seen["live"]
    assert seen["ready"]
    assert seen["model_ready"]
    assert seen["ids"] == [str(number) for number in range(12)]
    assert all(logits == seen["logits"][0] for logits in seen["logits"])
    assert (seen["config"], seen["statistics"], seen["index"]) == ("digits", ["digits"], ["digits"])
    check_refusals(seen)
    assert seen["shared memory"][0] == "StatusCode.UNIMPLEMENTED"


def test_perf_analyzer_works_unchanged(harness, tmp_path):
    """It asks for statistics as well, before and after."""
    profile = harness.profile("client")
    words = ["-m", "digits", "-i", "grpc", "-u", profile.endpoint.replace("127.0.0.1", "localhost")]
    words += ["--ssl-grpc-use-ssl", "--ssl-grpc-root-certifications-file", profile.server_authority]
    # It sends a space behind the colon as part of the value.
    words += ["-H", f"authorization:Bearer {profile.token.read_text().strip()}"]
    inputs = tmp_path / "inputs.json"
    inputs.write_text(json.dumps({"data": [{"x": rows()[0].tolist()}]}))
    words += ["--input-data", str(inputs), "--request-count", "8"]
    size = harness.gateway.recorder.size
    done = run([caller("perf_analyzer"), *words])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Request count: " in done.stdout, done.stderr
    assert harness.gateway.recorder.size >= size + 8
