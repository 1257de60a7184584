"""An issuer of tokens for tests: keys of every accepted kind, and a real server that shows them."""

import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealgate.setup.credentials import CertificateAuthority

ISSUER, AUDIENCE = "https://issuer.example", "sealgate"
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)

_ALGORITHMS: dict[type, tuple[str, Any]] = {
    ec.EllipticCurvePrivateKey: ("ES256", jwt.algorithms.ECAlgorithm),
    ed25519.Ed25519PrivateKey: ("EdDSA", jwt.algorithms.OKPAlgorithm),
    rsa.RSAPrivateKey: ("RS256", jwt.algorithms.RSAAlgorithm),
}


def _kind(key: Any) -> tuple[str, Any]:
    return next(kind for base, kind in _ALGORITHMS.items() if isinstance(key, base))


def jwk(key: Any, kid: str, **changes: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    return {**_kind(key)[1].to_jwk(key.public_key(), as_dict=True), "kid": kid, **changes}


def jwks(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(entries)}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """Valid claims of `alice`; a change to None leaves the claim out."""
    now = datetime.now(UTC)
    base = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + timedelta(minutes=5)}
    return {name: value for name, value in (base | changes).items() if value is not None}


def token(key: Any = P256, kid: str = "p", algorithm: str | None = None, **changes: Any) -> str:
    algorithm = algorithm or _kind(key)[0]
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers={"kid": kid})


class IssuerServer:
    """Answers GET by path from `documents`; `delay` seconds late, or a byte each `drip` seconds."""

    def __init__(self, folder: Path, *, tls: bool) -> None:
        self.documents: dict[str, bytes] = {}
        self.statuses: dict[str, int] = {}
        self.headers: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.delay = self.drip = 0.0
        self.authority = folder / "issuer-authority.pem"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls:
            self._wrap(folder)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _wrap(self, folder: Path) -> None:
        authority = CertificateAuthority("issuers", datetime.now(UTC), timedelta(days=1))
        server = authority.server("issuer", ("127.0.0.1",))
        self.authority.write_bytes(authority.pem)
        (folder / "issuer.pem").write_bytes(server.certificate)
        (folder / "issuer.key").write_bytes(server.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "issuer.pem", folder / "issuer.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def discoverable(self, **changes: str) -> None:
        """Publish the configuration of OIDC discovery, with the keys at /keys."""
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"} | changes
        self.documents["/.well-known/openid-configuration"] = json.dumps(document).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(owner: IssuerServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            owner.asked[self.path] += 1
            time.sleep(owner.delay)
            body = owner.documents.get(self.path)
            status = owner.statuses.get(self.path, 404 if body is None else 200)
            self.send_response(status)
            for name, value in owner.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body or b"")))
            self.end_headers()
            self._send(body or b"")

        def _send(self, body: bytes) -> None:
            try:
                if not owner.drip:
                    self.wfile.write(body)
                    return
                for index in range(len(body)):
                    self.wfile.write(body[index : index + 1])
                    self.wfile.flush()
                    time.sleep(owner.drip)
            except OSError:
                return

        def log_message(self, format: str, *args: Any) -> None:
            """Keeps quiet."""

    return Handler


@contextmanager
def serving(folder: Path, *, tls: bool = True) -> Iterator[IssuerServer]:
    server = IssuerServer(folder, tls=tls)
    try:
        yield server
    finally:
        server.close()
