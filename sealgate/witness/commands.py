"""`sealgate witness`: runs a witness, with its HTTP server and its configuration file.

A witness should be operated by somebody else than the gateway.
"""

import logging
import sqlite3
import ssl
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import click

from sealgate.cli.options import FILE
from sealgate.cli.output import HelpfulGroup, ask_secret
from sealgate.network.bounded_http import BoundedHandler, BoundedServer
from sealgate.private_keys import open_signer
from sealgate.reasons import SealgateError
from sealgate.service_process import end_event
from sealgate.settings import ConfigError, check_host_port, is_loopback, read_settings
from sealgate.trust.transparency import note
from sealgate.witness.service import LARGEST_BYTES, PATH, Witness, WitnessMemory, WitnessReply

_log = logging.getLogger(__name__)


class WitnessServer(BoundedServer):
    """Serves a witness at a host and a port, over TLS where it has a certificate.

    A connection answers one request within ten seconds and is closed; beyond 32 at once the
    oldest gives way.
    """

    def __init__(
        self, host: str, port: int, witness: Witness, certificate: tuple[Path, Path] | None = None
    ) -> None:
        """`certificate` is a chain and its key, both PEM. Raises OSError."""
        self.witness = witness
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        super().__init__(host, port, _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that a slow handshake holds up nobody."""
        if self._context is None:
            super().finish_request(request, client_address)
            return
        with self._context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


class _Handler(BoundedHandler):
    server: WitnessServer
    server_version = "sealgate-witness"

    def do_POST(self) -> None:
        reply = self._reply()
        self.send(HTTPStatus(reply.status), reply.text.encode(), reply.kind)

    def _reply(self) -> WitnessReply:
        if self.path != f"/{PATH}":
            return WitnessReply(HTTPStatus.NOT_FOUND, "only /add-checkpoint is here\n")
        length = self.headers.get_all("content-length") or []
        if len(length) != 1 or not (length[0].isascii() and length[0].isdecimal()):
            return WitnessReply(HTTPStatus.LENGTH_REQUIRED, "a body needs its length\n")
        if self.headers.get("transfer-encoding"):
            return WitnessReply(HTTPStatus.BAD_REQUEST, "a body has one length\n")
        if len(length[0]) > 9 or int(length[0]) > LARGEST_BYTES:
            return WitnessReply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a body that is too large\n")
        body = self.rfile.read(int(length[0]))
        if len(body) != int(length[0]):
            return WitnessReply(HTTPStatus.BAD_REQUEST, "a body that stops in the middle\n")
        try:
            return self.server.witness.add_checkpoint(body)
        except Exception:
            # Its disk is full, its database locked, or its key away: its operator must hear of it.
            _log.exception("nothing is cosigned")
            return WitnessReply(HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL\n")


@dataclass(frozen=True, slots=True)
class WitnessSection:
    """The witness itself. Beyond this machine it needs a certificate."""

    name: str
    """Its name in cosignatures, such as `witness.example`."""
    listen: str
    """The address at which it listens, host:port."""
    key: Path | str
    """The Ed25519 private key that cosigns: a PEM file or a `pkcs11:` URI."""
    database: Path
    """A SQLite file with the newest checkpoint of each log that was cosigned."""
    certificate: Path | None = None
    """The certificate of the listener, with its chain (PEM)."""
    certificate_key: Path | None = None
    """The private key of the certificate (PEM)."""

    def __post_init__(self) -> None:
        try:
            note.check_name(self.name)
        except SealgateError:
            raise ConfigError(f"[witness] name = {self.name!r} has blanks or a +") from None
        check_host_port(f"[witness] listen = {self.listen!r}", self.listen, any_host=True)
        if (self.certificate is None) != (self.certificate_key is None):
            raise ConfigError("[witness] certificate and certificate_key go together")
        if self.certificate is None and not is_loopback(self.listen):
            raise ConfigError(
                f"[witness] listen = {self.listen!r} is not this machine alone: set certificate "
                "and certificate_key, or listen on 127.0.0.1 behind a proxy"
            )


@dataclass(frozen=True, slots=True)
class LogSection:
    """`key`: the log's verifier key (C2SP), whose name is its origin."""

    key: str

    def __post_init__(self) -> None:
        try:
            note.Verifier.from_vkey(self.key)
        except SealgateError as refusal:
            raise ConfigError(f"[[logs]] key = {self.key!r}: {refusal.detail}") from None

    @property
    def origin(self) -> str:
        return note.Verifier.from_vkey(self.key).name


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    witness: WitnessSection
    logs: tuple[LogSection, ...]

    def __post_init__(self) -> None:
        if not self.logs:
            raise ConfigError("[[logs]] is missing: name the key of each log to cosign")
        if len({log.origin for log in self.logs}) != len(self.logs):
            raise ConfigError("[[logs]] names an origin twice")

    @classmethod
    def read(cls, path: Path) -> "WitnessConfig":
        """Raises: ConfigError, with what to change."""
        return read_settings(path, cls)


@click.group("witness", cls=HelpfulGroup)
def witness() -> None:
    """Cosign the checkpoints of other people's logs (C2SP tlog-witness)."""


@witness.command(
    epilog="""
\b
Examples:
  sealgate witness serve --config witness.toml --new    the first time
  sealgate witness serve --config witness.toml

\b
witness.toml:
  [witness]
  name = "witness.example"        # part of its verifier key
  listen = "127.0.0.1:7380"       # elsewhere with certificate and certificate_key
  key = "witness.key"             # sealgate key new --unencrypted witness.key
  database = "witness.sqlite"
  [[logs]]
  key = "house/registry+…"        # `sealgate policy show` names each log's
"""
)
@click.option(
    "--config",
    type=FILE,
    default=Path("witness.toml"),
    show_default=True,
    help="The configuration, as below.",
)
@click.option(
    "--new", is_flag=True, help="Create the database; only for a key that has never cosigned."
)
def serve(config: Path, new: bool) -> None:
    """Cosign checkpoints until SIGTERM or SIGINT. Prints the verifier key for gateway.toml.

    The database remembers what was cosigned. A witness that has lost it needs a new key: the old
    key might sign something that contradicts an earlier cosignature.
    """
    try:
        settings = WitnessConfig.read(config)
        server = _server(settings, new)
    except (ConfigError, SealgateError, OSError) as error:
        raise click.ClickException(str(error)) from error
    stopping = end_event()
    server.start()
    click.echo(f"verifier key: {server.witness.vkey}")
    click.echo(f"listening: {server.server_address[0]!s}:{server.server_address[1]}")
    stopping.wait()
    server.stop()


def _server(settings: WitnessConfig, new: bool) -> WitnessServer:
    own = settings.witness
    signer = open_signer(own.key, ask_secret)
    try:
        memory = WitnessMemory(own.database, create=new)
    except FileNotFoundError:
        raise ConfigError(
            f"[witness] database = {str(own.database)!r} is not there, or empty: with a key that "
            "never cosigned, --new begins one; otherwise restore it, or take a new key"
        ) from None
    except sqlite3.Error as error:
        raise ConfigError(f"[witness] database = {str(own.database)!r}: {error}") from error
    logs = {log.origin: log.key for log in settings.logs}
    served = Witness(own.name, signer, logs, memory, time.time)
    host, _, port = own.listen.rpartition(":")
    pair = (own.certificate, own.certificate_key)
    certificate = (pair[0], pair[1]) if pair[0] and pair[1] else None
    return WitnessServer(host.strip("[]"), int(port), served, certificate)
