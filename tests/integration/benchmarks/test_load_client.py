"""The client of the benchmarks counts an answer as OK only where it is one."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest

from benchmarks.load import LoadClient, Plan, write_requests
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)
from tests.support.oracles import programs

KINDS = ("ok", "typed", "short", "empty", "no receipt", "full")


class Service(GRPCInferenceServiceServicer):
    """Answers as the request's model name says."""

    def ModelInfer(self, request, context):  # noqa: N802
        kind = request.model_name
        if kind == "full":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
        response = oip.ModelInferResponse()
        if kind == "typed":
            response.outputs.add(name="y").contents.fp32_contents.extend([1.0, 2.0, 3.0])
        elif kind != "empty":
            response.raw_output_contents.append(bytes(8 if kind == "short" else 12))
        if kind != "no receipt":
            response.parameters["receipt"].string_param = "receipt"
        return response


class Page(BaseHTTPRequestHandler):
    """Echoes the body with the status that it names."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(json.loads(body).get("status", 200))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    programs.program("go")
    programs.go_package("google.golang.org/grpc")
    return LoadClient.build(tmp_path_factory.mktemp("go"), core=0)


def ask(client, folder, protocol, port, requests, **more):
    path = write_requests(folder / "requests", requests)
    plan = Plan(protocol, f"127.0.0.1:{port}", path, values=3, in_flight=2, **more)
    return client.answered(plan)


# Building gRPC from source takes half a minute the first time.
@pytest.mark.timeout(400)
def test_answers_of_the_protocol_are_checked(client, tmp_path):
    server = grpc.server(ThreadPoolExecutor(2))
    add_GRPCInferenceServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        requests = [oip.ModelInferRequest(model_name=kind).SerializeToString() for kind in KINDS]
        places, failures = ask(client, tmp_path, "grpc", port, requests, receipt=True)
    finally:
        server.stop(None).wait()
    assert [KINDS[place] for place in places] == ["ok", "typed"]
    assert failures == {
        "an answer of another shape": 2,
        "an answer without a receipt": 1,
        "ResourceExhausted": 1,
    }


@pytest.mark.timeout(400)
def test_answers_in_json_are_checked(client, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    bodies = [b'{"y": [[1, 2, 3]]}', b'{"y": [1, 2]}', b'{"y": [1, 2], "status": 503}']
    try:
        places, failures = ask(client, tmp_path, "http", server.server_port, bodies, path="/infer")
    finally:
        server.shutdown()
        server.server_close()
    assert places == [0]
    assert failures == {"an answer of another shape": 1, "HTTP 503": 1}
