"""A time-stamp authority (RFC 3161) on this machine: `openssl ts` behind a small HTTP server."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.oracles.programs import program

POLICY = "1.2.3.4.1"
_CONFIG = f"""
[tsa]
default_tsa = own
[own]
serial = serial
default_policy = {POLICY}
other_policies = 1.2.3.4.2
digests = sha256, sha512
signer_digest = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""


@dataclass
class LocalAuthority:
    """An authority in a folder, with a certificate of its own authority `ca.pem`.

    `days` says from when to when its certificate is valid.
    """

    folder: Path
    days: tuple[int, int] = (-1, 1)
    status: int = 200
    answers: list[bytes] = field(default_factory=list)
    """The answers that it gives instead, each once."""

    def __post_init__(self) -> None:
        # Here, and not in a server's thread: a test without it is skipped.
        self._openssl = program("openssl")
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "tsa.cnf").write_text(_CONFIG)
        (self.folder / "serial").write_text("01\n")
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _certificate("CA", root_key, root_key, self.days)
        signer = _certificate("TSA", key, root_key, self.days)
        self.certificates = root.public_bytes(Encoding.PEM)
        (self.folder / "ca.pem").write_bytes(self.certificates)
        (self.folder / "tsa.pem").write_bytes(signer.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "tsa.key").write_bytes(pem)

    def reply(self, request: bytes) -> bytes:
        """Return the answer to a request, made by openssl."""
        if self.answers:
            return self.answers.pop(0)
        (self.folder / "request.tsq").write_bytes(request)
        words = ["ts", "-reply", "-config", "tsa.cnf", "-queryfile", "request.tsq"]
        words += ["-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply.tsr"]
        command = [self._openssl, *words]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)
        return (self.folder / "reply.tsr").read_bytes()


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    days: tuple[int, int],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("CA"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=key is issuer_key, path_length=None), critical=True)
    )
    if key is not issuer_key:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@contextmanager
def serving_authority(authority: LocalAuthority) -> Iterator[str]:
    """Serve an authority; yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["content-length"]))
            body = authority.reply(request)
            self.send_response(authority.status)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/tsr"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
