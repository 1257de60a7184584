"""A gateway that also listens for HTTP, and a plain client of it: Python's own."""

import json
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import numpy as np

from sealgate.reasons import Reason
from sealgate.trust.times import format_time
from sealgate.v1.credential_pb2 import CreateApiKeyRequest
from sealgate.v1.credential_pb2_grpc import CredentialServiceStub
from tests.support.harness.gateway import GatewayHarness

HTTP = '\n[http]\ntls = "127.0.0.1:0"\ninsecure = "127.0.0.1:0"\n'


def harness_with_http(state: Path, more: str = "", transport: str = "auto") -> GatewayHarness:
    """Not started yet."""
    harness = GatewayHarness(state, transport=transport)
    with (harness.state / "gateway.toml").open("a") as file:
        file.write(HTTP + more)
    return harness


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> Reason | None:
        """Of a refusal in either form, which has its reason's sentence too; None for an answer."""
        if self.status == 200:
            return None
        error = self.json["error"]
        is_openai = isinstance(error, dict)
        found = Reason[error["code"] if is_openai else self.json["reason"]]
        assert (error["message"] if is_openai else error) == found.sentence
        return found


class HttpClient:
    """Asks over one connection; it is opened anew where the gateway has closed it."""

    def __init__(
        self,
        harness: GatewayHarness,
        bearer: str | None = None,
        pair: tuple[Path, Path] | None = None,
        insecure: bool = False,
    ) -> None:
        """`pair` is a certificate and its key, which are shown."""
        assert harness.gateway is not None
        self.headers = {} if bearer is None else {"authorization": f"Bearer {bearer}"}
        self.connection: HTTPConnection
        if insecure:
            port = harness.gateway.ports["http-insecure"]
            self.connection = HTTPConnection("127.0.0.1", port, timeout=60)
            return
        authority = harness.state / "tls" / "servers.pem"
        context = ssl.create_default_context(cafile=str(authority))
        if pair is not None:
            context.load_cert_chain(*pair)
        port = harness.gateway.ports["http"]
        self.connection = HTTPSConnection("127.0.0.1", port, timeout=60, context=context)

    def ask(
        self,
        verb: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpAnswer:
        self.connection.request(verb, path, body, {**self.headers, **(headers or {})})
        response = self.connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, found, response.read())

    def get(self, path: str) -> HttpAnswer:
        return self.ask("GET", path)

    def post(self, path: str, document: Any, **headers: str) -> HttpAnswer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("POST", path, json.dumps(document).encode(), named)

    def infer(self, document: Any, model: str = "digits") -> HttpAnswer:
        return self.post(f"/v2/models/{model}/infer", document)

    def close(self) -> None:
        self.connection.close()


def client_of(
    harness: GatewayHarness, person: str = "client", insecure: bool = False
) -> HttpClient:
    """Of somebody known: by a token where they have one, or else by their certificate."""
    profile = harness.profile(person)
    if profile.token is not None:
        return HttpClient(harness, profile.token.read_text().strip(), insecure=insecure)
    assert profile.certificate is not None
    assert profile.certificate_key is not None
    return HttpClient(harness, pair=(profile.certificate, profile.certificate_key))


def api_key(harness: GatewayHarness, person: str) -> str:
    """A new one, made by the admin."""
    admin = CredentialServiceStub(harness.channel("admin"))
    expires = format_time(datetime.now(UTC) + timedelta(hours=1))
    request = CreateApiKeyRequest(holder=person, label="test", expire_time=expires)
    return str(admin.CreateApiKey(request, timeout=60).secret)


def tensor(rows: np.ndarray) -> dict[str, Any]:
    return {
        "name": "x",
        "datatype": "FP32",
        "shape": list(rows.shape),
        "data": rows.astype(np.float32).ravel().tolist(),
    }


def spoken(harness: GatewayHarness, text: bytes) -> bytes:
    """The bytes that come back, until the connection ends, for bytes sent in clear, with which
    their half of it ends.
    """
    assert harness.gateway is not None
    address = ("127.0.0.1", harness.gateway.ports["http-insecure"])
    with socket.create_connection(address, timeout=60) as connection:
        if hasattr(socket, "TCP_CORK"):
            # The end goes with the last of them, or what was asked might be answered before it.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while piece := connection.recv(65536):
            found += piece
    return found
