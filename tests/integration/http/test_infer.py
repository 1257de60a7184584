"""Inference over HTTP: the same answers, receipts and reasons as by gRPC."""

import gzip
import json
import struct
import zlib

import numpy as np
import pytest

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, parameters_digest, read_outputs
from sealgate.trust.receipts import Receipt, verify_receipt
from sealgate.trust.receipts.answer_entry import tensors_digest
from tests.support.harness.clients.http_client import HttpClient, tensor
from tests.support.harness.gateway import GatewayHarness, question, rows

INFER = "/v2/models/digits/infer"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
# In a document: a row, filled in when the test runs.
ROW: dict[str, object] = {}
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress}


def by_grpc(harness: GatewayHarness, sent: np.ndarray) -> np.ndarray:
    (logits,) = read_outputs(harness.inference().ModelInfer(question("digits", sent))).values()
    return logits.data


def as_array(output: dict) -> np.ndarray:
    assert output["datatype"] == "FP32"
    return np.array(output["data"], np.float32).reshape(output["shape"])


def proven(harness: GatewayHarness, receipt: str) -> dict:
    return verify_receipt(
        Receipt.decode(receipt.encode()), harness.governance("client").policy()
    ).fields


@pytest.mark.parametrize("nested", [False, True])
def test_json_in_json_out(harness: GatewayHarness, client: HttpClient, nested: bool) -> None:
    sent = rows(count=3)
    asked = tensor(sent)
    if nested:
        asked["data"] = sent.tolist()
    seen = client.infer({"id": "case-7", "inputs": [asked]})
    assert (seen.status, seen.headers["content-type"]) == (200, "application/json")
    found = seen.json
    assert (found["model_name"], found["model_version"], found["id"]) == ("digits", "1", "case-7")
    (output,) = found["outputs"]
    assert output["name"] == "logits"
    np.testing.assert_array_equal(as_array(output), by_grpc(harness, sent))
    assert "parameters" not in found


@pytest.mark.parametrize("wish", ["all", "one"])
def test_raw_in_raw_out(harness: GatewayHarness, client: HttpClient, wish: str) -> None:
    sent = rows(count=3)
    raw = sent.tobytes()
    document = {
        "inputs": [{**tensor(sent), "parameters": {"binary_data_size": len(raw)}}],
        **(
            {"parameters": {"binary_data_output": True}}
            if wish == "all"
            else {"outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}
        ),
    }
    del document["inputs"][0]["data"]
    head = json.dumps(document).encode()
    seen = client.ask(
        "POST", INFER, head + raw, {"inference-header-content-length": str(len(head))}
    )
    assert seen.headers["content-type"] == "application/octet-stream"
    length = int(seen.headers["inference-header-content-length"])
    (output,) = json.loads(seen.body[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 120}
    answered = np.frombuffer(seen.body[length:], np.float32).reshape(3, 10)
    np.testing.assert_array_equal(answered, by_grpc(harness, sent))


def test_the_receipt_is_the_one_that_grpc_gives(
    harness: GatewayHarness, client: HttpClient
) -> None:
    sent = rows()
    seen = client.infer(
        {"inputs": [tensor(sent)], "parameters": {"receipt": True, "subject": "patient-17"}}
    )
    fields = proven(harness, seen.json["parameters"]["receipt"])
    assert (fields["principal"], fields["method"]) == ("client", METHOD)
    assert (fields["outcome"], fields["verdict"]) == ("answered", "clean")
    answered = Tensor.of("logits", as_array(seen.json["outputs"][0]))
    for name, bound in (("input", Tensor.of("x", sent)), ("output", answered)):
        digest = tensors_digest([(bound.name, bound.datatype, bound.shape, bound.raw)])
        assert fields[name] == digest


def test_the_receipt_binds_alias_parameters_and_id(
    harness: GatewayHarness, client: HttpClient
) -> None:
    """How tensors travel is no part of what was asked."""
    nonce = "AAECAwQFBgcICQoLDA0ODw"
    parameters = {"receipt": True, "nonce": nonce, "binary_data_output": False, "priority": 2}
    seen = client.infer({"id": "claim-17", "inputs": [tensor(rows())], "parameters": parameters})
    fields = proven(harness, seen.json["parameters"]["receipt"])
    asked = oip.ModelInferRequest()
    asked.parameters["receipt"].bool_param = True
    asked.parameters["nonce"].string_param = nonce
    asked.parameters["priority"].int64_param = 2
    assert fields["parameters"] == parameters_digest(asked)
    assert (fields["alias"], fields["request_id"]) == ("production", "claim-17")
    refused = client.infer({"inputs": [tensor(rows())], "parameters": {"nonce": "short"}})
    assert refused.reason is Reason.PARAMETER_MALFORMED


def test_a_refusal_has_its_receipt_too(harness: GatewayHarness, client: HttpClient) -> None:
    document = {"inputs": [tensor(rows())], "parameters": {"receipt": True}}
    seen = client.infer(document, model="nobody")
    assert (seen.status, seen.reason) == (404, Reason.MODEL_UNKNOWN)
    fields = proven(harness, seen.json["receipt"])
    assert (fields["outcome"], fields["model"]) == ("MODEL_UNKNOWN", "nobody")
    silent = client.infer({"inputs": [tensor(rows())]}, model="nobody")
    assert set(silent.json) == {"error", "reason"}


def test_versions_and_aliases(client: HttpClient) -> None:
    asked = {"inputs": [tensor(rows())]}
    assert client.post("/v2/models/digits/versions/1/infer", asked).status == 200
    canary = client.infer({**asked, "parameters": {"alias": "canary"}})
    assert canary.reason is Reason.ALIAS_UNKNOWN
    both = {**asked, "parameters": {"alias": "production"}}
    seen = client.post("/v2/models/digits/versions/1/infer", both)
    assert seen.reason is Reason.PARAMETER_MALFORMED
    seen = client.post("/v2/models/digits/versions/0/infer", asked)
    assert seen.reason is Reason.VERSION_MALFORMED
    assert client.infer(asked, model="Digits").reason is Reason.NAME_MALFORMED
    assert client.infer(asked, model="%64igits").reason is Reason.NAME_MALFORMED


@pytest.mark.parametrize("encoding", PACKERS)
def test_compressed_bodies(client: HttpClient, encoding: str) -> None:
    asked = {"content-encoding": encoding}
    body = json.dumps({"inputs": [tensor(rows())]}).encode()
    packed = PACKERS[encoding](body)
    assert client.ask("POST", INFER, packed, asked).status == 200
    for wrong in (packed[:-1], packed + b"x", body, b""):
        assert client.ask("POST", INFER, wrong, asked).reason is Reason.MESSAGE_MALFORMED
    # 64 MB of zeros travel as 64 KB.
    bomb = PACKERS[encoding](bytes(64 << 20))
    assert client.ask("POST", INFER, bomb, asked).reason is Reason.MESSAGE_TOO_LARGE


def test_other_encodings_are_refused(client: HttpClient) -> None:
    for encoding in ("br", "gzip, gzip", "gzip,deflate", ""):
        seen = client.ask("POST", INFER, b"{}", {"content-encoding": encoding})
        assert seen.reason is Reason.MESSAGE_MALFORMED


def filled(document: object) -> object:
    """The document with the inputs that it names: a row where it says ROW, and changes of it."""
    if not isinstance(document, dict) or not document.get("inputs"):
        return document
    return document | {"inputs": [{**tensor(rows()), **changes} for changes in document["inputs"]]}


def altered(**changes: object) -> dict:
    return {"inputs": [changes]}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ([], Reason.MESSAGE_MALFORMED),
        ({}, Reason.MESSAGE_MALFORMED),
        ({"inputs": []}, Reason.TENSOR_NAME),
        ({"inputs": [ROW] * 2}, Reason.TENSOR_DUPLICATE),
        ({"inputs": [ROW], "outputs": [{"name": "x"}] * 2}, Reason.TENSOR_DUPLICATE),
        ({"inputs": [ROW], "outputs": [{"name": "x"}]}, Reason.OUTPUT_UNKNOWN),
        (altered(name="y"), Reason.TENSOR_NAME),
        (altered(datatype="FP128"), Reason.TENSOR_DATATYPE),
        (altered(datatype="FP64"), Reason.TENSOR_DATATYPE),
        (altered(shape=[1, 63]), Reason.TENSOR_BYTES),
        (altered(shape=[-1, -64]), Reason.TENSOR_SHAPE),
        (altered(shape=[2**40, 2**40]), Reason.TENSOR_SHAPE),
        (altered(shape=[64]), Reason.TENSOR_SHAPE),
        (altered(data=[[0.0] * 32] * 2), Reason.TENSOR_BYTES),
        ({"id": "a\nb", "inputs": [ROW]}, Reason.PARAMETER_MALFORMED),
        ({"inputs": [ROW], "parameters": {"priority": 3}}, Reason.PARAMETER_MALFORMED),
        ({"inputs": [ROW], "parameters": {"x": 1}}, Reason.PARAMETER_MALFORMED),
        ({"inputs": [ROW], "parameters": {"timeout": 1}}, Reason.DEADLINE_TOO_SHORT),
    ],
)
def test_what_is_wrong_has_the_reason_that_grpc_gives(
    client: HttpClient, document: object, reason: Reason
) -> None:
    assert client.infer(filled(document)).reason is reason


def test_priority_and_timeout(client: HttpClient) -> None:
    for parameters in ({"priority": 1}, {"priority": 2, "timeout": 50_000_000}, {"timeout": 0}):
        assert client.infer({"inputs": [tensor(rows())], "parameters": parameters}).status == 200


def test_what_is_refused_before_it_is_a_message_is_recorded(
    harness: GatewayHarness, client: HttpClient
) -> None:
    before = harness.gateway.recorder.size
    assert client.ask("POST", INFER, b"[").reason is Reason.MESSAGE_MALFORMED
    assert harness.gateway.recorder.size == before + 1


def test_both_doors_count_for_the_same_version(harness: GatewayHarness, client: HttpClient) -> None:
    stub = harness.inference("auditor")

    def executions() -> int:
        (found,) = stub.ModelStatistics(oip.ModelStatisticsRequest(name="digits")).model_stats
        return found.inference_stats.success.count

    before = executions()
    client.infer({"inputs": [tensor(rows())]})
    assert executions() == before + 1


def test_the_tail_must_be_what_was_announced(client: HttpClient) -> None:
    raw = rows().tobytes()
    said = tensor(rows())
    del said["data"]
    for size, tail, stated, reason in (
        (256, raw[:-4], None, Reason.RAW_CONTENTS_MISMATCH),
        (256, raw + b"\0", None, Reason.RAW_CONTENTS_MISMATCH),
        (255, raw[:-1], None, Reason.TENSOR_BYTES),
        (-1, b"", None, Reason.PARAMETER_MALFORMED),
        (256, raw, "9" * 30, Reason.MESSAGE_MALFORMED),
        (256, raw, "-1", Reason.MESSAGE_MALFORMED),
        (256, struct.pack("<64f", *[float("nan")] * 64), None, Reason.TENSOR_NOT_FINITE),
    ):
        head = json.dumps({"inputs": [{**said, "parameters": {"binary_data_size": size}}]}).encode()
        length = str(len(head)) if stated is None else stated
        seen = client.ask("POST", INFER, head + tail, {"inference-header-content-length": length})
        assert seen.reason is reason
