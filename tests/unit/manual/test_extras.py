"""Packages of extras are imported only where they are used: a gateway starts without them."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# The imports of `sealgate serve` and `sealgate serve engine` at start.
_STARTS = "import gateway.app, gateway.cli.serve, inference.server.server, sealgate.cli.main"


@pytest.mark.parametrize(
    "package",
    [
        *("psycopg", "redis", "boto3", "pkcs11", "opentelemetry", "torch", "transformers"),
        *("ray", "flwr", "sealgate_front", "fido2", "rfc3161_client"),
        *("mlflow", "sigstore"),
        *("starlette", "uvicorn", "authlib"),
    ],
)
def test_a_gateway_starts_without_what_extras_bring(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; {_STARTS}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
