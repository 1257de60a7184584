"""Whether a part of the installation STATE answers: exit 0 or 1.

    healthcheck.py [gateway|engine|generator|events|console]

Asks at the address that the part's own configuration listens on: the gateway, engine and generator
gRPC's health service, events `/readyz`, the console its sign-in page. The gateway must show a
certificate of SEALGATE_AUTHORITY (PEM; STATE/tls/servers.pem) for SEALGATE_NAME (localhost), the
console its own.
"""

import http.client
import os
import ssl
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 4.0
_BY_HTTP = ("events", "console")


def main() -> int:
    part = sys.argv[1] if len(sys.argv) > 1 else "gateway"
    state = Path(os.environ.get("SEALGATE_STATE", "state"))
    try:
        said, well = by_http(state, part) if part in _BY_HTTP else by_grpc(state, part)
    except (OSError, KeyError, tomllib.TOMLDecodeError, http.client.HTTPException) as error:
        said, well = str(error), False
    except grpc.RpcError as error:
        said, well = error.code().name, False
    print(f"{part}: {said}")
    return 0 if well else 1


def by_grpc(state: Path, part: str) -> tuple[str, bool]:
    with gateway(state) if part == "gateway" else engine(state, part) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=_SECONDS
        )
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return status, status == "SERVING"


def by_http(state: Path, part: str) -> tuple[str, bool]:
    """Raises: KeyError where events.toml has no `listen` in [metrics]."""
    document = tomllib.loads((state / f"{part}.toml").read_text())
    if part == "events":
        address, path, origin = document["metrics"]["listen"], "/readyz", ""
    else:
        address, path = document["listen"]["address"], "/sign-in"
        origin = document["listen"]["origin"]
    connection = http.client.HTTPConnection(
        "127.0.0.1", int(address.rpartition(":")[2]), timeout=_SECONDS
    )
    parts = urlsplit(origin)
    connection.connect()
    try:
        if parts.scheme == "https":
            connection.sock = own(state / document["listen"]["certificate"]).wrap_socket(
                connection.sock, server_hostname=parts.hostname
            )
        connection.request("GET", path, headers={"Host": parts.netloc} if origin else {})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace").strip()
    finally:
        connection.close()
    return (text, False) if answer.status != 200 else ("ok", True)


def own(certificate: Path) -> ssl.SSLContext:
    """TLS that takes this certificate alone, whoever has signed it."""
    context = ssl.create_default_context(cafile=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def gateway(state: Path) -> grpc.Channel:
    """Raises: KeyError where [listen] has no `tls`, the only listener that asks for no credential
    to be asked how it is.
    """
    port = _listen(state / "gateway.toml")["tls"].rpartition(":")[2]
    authority = Path(os.environ.get("SEALGATE_AUTHORITY", state / "tls" / "servers.pem"))
    name = os.environ.get("SEALGATE_NAME", "localhost")
    return grpc.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials(authority.read_bytes()),
        options=[("grpc.ssl_target_name_override", name), ("grpc.enable_http_proxy", 0)],
    )


def engine(state: Path, part: str = "engine") -> grpc.Channel:
    """Raises: KeyError where [listen] of engine.toml or generator.toml has no `socket`."""
    socket = state / _listen(state / f"{part}.toml")["socket"]
    return grpc.insecure_channel(
        f"unix:{socket.absolute()}", options=[("grpc.default_authority", "localhost")]
    )


def _listen(path: Path) -> dict[str, str]:
    listen: dict[str, str] = tomllib.loads(path.read_text())["listen"]
    return listen


if __name__ == "__main__":
    sys.exit(main())
