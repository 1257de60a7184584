"""The faults of a gateway that is a process of its own, while it runs."""

import resource
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from sealgate.reasons import Reason
from sealgate.remote import reason_of
from sealgate.setup.credentials import CertificateAuthority
from sealgate.v1.registry_pb2 import ListModelsRequest
from tests.support.harness.deployment import GatewayDeployment

_HOSTS = ("localhost", "127.0.0.1")
_ROOM = 256 * 1024


class Quota:
    """No file of the gateway's may grow any more, beyond a little."""

    def __init__(self, deployment: GatewayDeployment) -> None:
        self._deployment = deployment

    def fill(self) -> None:
        sizes = [path.stat().st_size for path in self._deployment.harness.state.glob("answers.db*")]
        self._limit(max(sizes) + _ROOM)

    def clear(self) -> None:
        self._limit(resource.RLIM_INFINITY)

    def _limit(self, most: int) -> None:
        bounds = most, resource.RLIM_INFINITY
        resource.prlimit(self._deployment.gateway.pid, resource.RLIMIT_FSIZE, bounds)


def show_certificate(deployment: GatewayDeployment, lifetime: timedelta) -> None:
    """Have the gateway show a new certificate, whose authority everybody trusts."""
    authority = CertificateAuthority("renewed", datetime.now(UTC), lifetime)
    made = authority.server("gateway", _HOSTS)
    tls = deployment.harness.state / "tls"
    put(tls / "servers.pem", (tls / "servers.pem").read_bytes() + authority.pem)
    put(tls / "gateway.key", made.key)
    put(tls / "gateway.pem", made.certificate)


def clock_of(deployment: GatewayDeployment) -> Callable[[str], None]:
    """A function that sets the gateway's clock off by so much, as libfaketime writes it; monotonic
    time goes on. The gateway is to be started afterwards; without libfaketime the test is skipped.
    """
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    stamp = deployment.harness.state / "clock"

    def set_clock(offset: str) -> None:
        # At once: who reads half of it ends.
        put(stamp, f"{offset}\n".encode())

    set_clock("+0")
    deployment.gateway.environment |= {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return set_clock


def registry_says(
    deployment: GatewayDeployment, seconds: float = 10.0
) -> Reason | grpc.StatusCode | None:
    """Why the registry answers nothing; None where it does."""
    try:
        deployment.harness.registry("auditor").ListModels(ListModelsRequest(), timeout=seconds)
    except grpc.RpcError as error:
        return reason_of(error) or error.code()
    return None


def put(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    new.replace(path)
