"""An OpenID provider for tests: signs everybody in at once, and binds tokens to certificates."""

import base64
import hashlib
import json
import secrets
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import jwt

from sealgate.setup.credentials import CertificateAuthority
from tests.support.harness.servers.issuer import P256, jwk

CLIENT = "sealgate-console"


class OidcProvider:
    """Signs in `subject`. Each test may change what tokens say: `id_token`, `access_token` are
    changes to their claims, and None leaves a claim out.
    """

    def __init__(self, folder: Path, callers: bytes) -> None:
        """`callers` signs the certificates that are asked for."""
        self.subject = "admin"
        self.key: Any = P256
        self.id_token: dict[str, Any] = {}
        self.access_token: dict[str, Any] = {}
        # The members that its description has otherwise.
        self.described: dict[str, Any] = {}
        # Bytes that it sends for a path instead, as gzip.
        self.raw: dict[str, bytes] = {}
        self.asked: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        authority = CertificateAuthority("providers", datetime.now(UTC), timedelta(days=1))
        made = authority.server("provider", ("127.0.0.1",))
        self.authority = folder / "provider-authority.pem"
        self.authority.write_bytes(authority.pem)
        (folder / "provider.pem").write_bytes(made.certificate)
        (folder / "provider.key").write_bytes(made.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "provider.pem", folder / "provider.key")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=callers.decode())
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def visit(self, url: str) -> dict[str, str]:
        """Sign in as a browser does; return the query that it is sent back with."""
        context = ssl.create_default_context(cafile=str(self.authority))
        answer = httpx2.get(url, verify=context)
        assert answer.status_code == 302, answer.text
        return dict(httpx2.URL(answer.headers["location"]).params)

    def documents(self) -> dict[str, Any]:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
        description = {name: f"{self.url}/{path}" for name, path in places.items()}
        description |= {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.described}
        keys = {"keys": [jwk(P256, "p")]}
        return {"/.well-known/openid-configuration": description, "/keys": keys}

    def authorize(self, query: dict[str, str]) -> str:
        code = secrets.token_urlsafe()
        self._codes[code] = query
        back = urlencode({"code": code, "state": query["state"], "iss": self.url})
        return f"{query['redirect_uri']}?{back}"

    def exchange(self, form: dict[str, str], certificate: bytes | None) -> dict[str, Any] | None:
        """The tokens for a code, once, to whoever has its verifier; None for anybody else."""
        self.asked.append(form)
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = _url64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or asked["code_challenge_method"] != "S256":
            return None
        if challenge != asked["code_challenge"] or form["client_id"] != CLIENT:
            return None
        bound = _url64(hashlib.sha256(certificate).digest()) if certificate else None
        return {
            "token_type": "Bearer",
            "id_token": self._sign({"aud": CLIENT, "nonce": asked["nonce"]} | self.id_token),
            "access_token": self._sign(
                {"aud": "sealgate", "cnf": {"x5t#S256": bound}} | self.access_token
            ),
        }

    def _sign(self, claims: dict[str, Any]) -> str:
        expires = datetime.now(UTC) + timedelta(minutes=5)
        every = {"iss": self.url, "sub": self.subject, "exp": expires} | claims
        said = {name: value for name, value in every.items() if value is not None}
        return jwt.encode(said, self.key, algorithm="ES256", headers={"kid": "p"})


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _handler(owner: OidcProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.send_response(302)
                self.send_header("location", owner.authorize(query))
                self.send_header("content-length", "0")
                self.end_headers()
                return
            if parts.path in owner.raw:
                self._send(200, owner.raw[parts.path], "gzip")
                return
            self._answer(owner.documents().get(parts.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            connection: Any = self.connection
            self._answer(owner.exchange(form, connection.getpeercert(binary_form=True)))

        def _answer(self, document: dict[str, Any] | None) -> None:
            data = json.dumps(document or {"error": "invalid_grant"}).encode()
            self._send(400 if document is None else 200, data, "identity")

        def _send(self, status: int, data: bytes, encoding: str) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-encoding", encoding)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keeps quiet."""

    return Handler


@contextmanager
def providing(folder: Path, callers: bytes) -> Iterator[OidcProvider]:
    provider = OidcProvider(folder, callers)
    try:
        yield provider
    finally:
        provider.close()
