"""The HTTP gateway's descriptions of the server and its models agree with those of gRPC."""

import re
from http.client import HTTPConnection

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from tests.support.harness.clients.http_client import HttpClient, client_of
from tests.support.harness.gateway import GatewayHarness

DIGITS = "/v2/models/digits"


def test_health_is_open_to_anyone(harness: GatewayHarness) -> None:
    anyone = HttpClient(harness)
    assert anyone.get("/v2/health/live").json == {"live": True}
    assert anyone.get("/v2/health/ready").json == {"ready": True}


def test_the_server(harness: GatewayHarness, client: HttpClient) -> None:
    told = harness.inference().ServerMetadata(oip.ServerMetadataRequest())
    assert client.get("/v2").json == {
        "name": "sealgate",
        "version": told.version,
        "extensions": [*told.extensions, "binary_tensor_data"],
    }


@pytest.mark.parametrize("path", [DIGITS, f"{DIGITS}/versions/1"])
def test_a_model(harness: GatewayHarness, client: HttpClient, path: str) -> None:
    told = harness.inference().ModelMetadata(oip.ModelMetadataRequest(name="digits"))
    found = client.get(path).json
    assert found["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}]
    assert ParseDict(found, oip.ModelMetadataResponse()) == told


@pytest.mark.parametrize("path", [DIGITS, f"{DIGITS}/versions/1"])
def test_its_configuration(harness: GatewayHarness, client: HttpClient, path: str) -> None:
    told = harness.inference().ModelConfig(oip.ModelConfigRequest(name="digits")).config
    found = client.get(f"{path}/config").json
    assert found["input"][0]["data_type"] == "TYPE_FP32"
    assert found["input"][0]["dims"] == [64]
    assert ParseDict(found, oip.ModelConfig()) == told


def test_statistics_are_numbers(harness: GatewayHarness) -> None:
    told = harness.inference("auditor").ModelStatistics(oip.ModelStatisticsRequest(name="digits"))
    auditor = client_of(harness, "auditor")
    for path in (DIGITS, f"{DIGITS}/versions/1"):
        (found,) = auditor.get(f"{path}/stats").json["model_stats"]
        assert type(found["inference_count"]) is int
        assert (
            found.keys()
            >= MessageToDict(told.model_stats[0], preserving_proto_field_name=True).keys()
        )
    assert auditor.get("/v2/models/nobody/stats").reason is Reason.MODEL_UNKNOWN


def test_readiness(client: HttpClient) -> None:
    assert client.get(f"{DIGITS}/ready").json == {"name": "digits", "ready": True}
    assert client.get(f"{DIGITS}/versions/1/ready").status == 200
    for path in (f"{DIGITS}/versions/7/ready", "/v2/models/nobody/ready"):
        seen = client.get(path)
        assert (seen.status, seen.json["ready"]) == (400, False)


def test_the_index(harness: GatewayHarness) -> None:
    auditor = client_of(harness, "auditor")
    digits = {"name": "digits", "version": "1", "state": "READY", "reason": ""}
    assert auditor.ask("POST", "/v2/repository/index").json == [digits]
    assert auditor.post("/v2/repository/index", {"ready": True}).json == [digits]
    for document in ([], {"ready": 1}, {"repository_name": ""}):
        assert auditor.post("/v2/repository/index", document).reason is Reason.MESSAGE_MALFORMED


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v2/",
        "//v2",
        "/v2/models",
        "/v2/models/digits/",
        "/v2/models/digits/infer",
        "/v2/models/digits/versions",
        "/v2/models/a/b",
        "/v2/models/digits?x=1",
        "/V2",
        "/v2/../v2",
        "/v2/systemsharedmemory/status",
        "/v2/trace/setting",
        "/v2/logging",
        "http://other.example/v2",
    ],
)
def test_other_paths(client: HttpClient, path: str) -> None:
    seen = client.ask("GET", path)
    assert (seen.status, seen.reason) == (404, Reason.PATH_UNKNOWN)


@pytest.mark.parametrize("verb", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_other_verbs(client: HttpClient, verb: str) -> None:
    assert client.ask(verb, "/v2").reason is Reason.PATH_UNKNOWN


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready", "/v2/openapi.json", "/v2/nothing"])
def test_a_head_has_no_body(client: HttpClient, path: str) -> None:
    seen, whole = client.ask("HEAD", path), client.get(path)
    assert (seen.status, seen.body) == (whole.status, b"")
    assert seen.headers["content-length"] == whole.headers["content-length"]
    # And the connection goes on.
    assert client.get("/v2").status == 200


def test_inference_has_no_head(client: HttpClient) -> None:
    assert client.ask("HEAD", "/v2/models/digits/infer").status == 404


def test_answers_are_counted_by_status(harness: GatewayHarness, client: HttpClient) -> None:
    def counted(status: str) -> float:
        metrics = HTTPConnection("127.0.0.1", harness.gateway.ports["metrics"], timeout=60)
        metrics.request("GET", "/metrics")
        text = metrics.getresponse().read().decode()
        metrics.close()
        found = re.findall(rf'^sealgate_http_answers_total{{status="{status}"}} (\S+)$', text, re.M)
        return float(found[0]) if found else 0.0

    before = counted("200"), counted("404")
    for path in ("/v2", "/v2", "/nothing"):
        client.get(path)
    assert (counted("200"), counted("404")) == (before[0] + 2, before[1] + 1)
