"""Whether the gateway, engine or generator of STATE answers gRPC's health service: exit 0 or 1.

Asks at the address that its own configuration listens on. The gateway must show a certificate of
SEALGATE_AUTHORITY (PEM; STATE/tls/servers.pem) for SEALGATE_NAME (localhost).
"""

import os
import sys
import tomllib
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS = 4.0


def main() -> int:
    part = sys.argv[1] if len(sys.argv) > 1 else "gateway"
    state = Path(os.environ.get("SEALGATE_STATE", "state"))
    try:
        with gateway(state) if part == "gateway" else engine(state, part) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_SECONDS
            )
    except (OSError, KeyError, tomllib.TOMLDecodeError, grpc.RpcError) as error:
        print(f"{part}: {error.code().name if isinstance(error, grpc.RpcError) else error}")
        return 1
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    print(f"{part}: {status}")
    return 0 if status == "SERVING" else 1


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
