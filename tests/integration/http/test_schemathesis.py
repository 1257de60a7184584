"""Requests that schemathesis makes of the OpenAPI document: no server error, and no answer that the
document does not describe. It runs in an environment of its own.
"""

import subprocess
from pathlib import Path

import pytest

from tests.support.harness.clients.http_client import api_key
from tests.support.harness.gateway import GatewayHarness
from tests.support.oracles.programs import python_with

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

EXAMPLES = 5
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


CONFIGURATION = """
[parameters]
"path.model" = "digits"
"path.version" = "1"
"""


def run_schemathesis(harness: GatewayHarness, secret: str, *more: str) -> None:
    file = harness.state / "schemathesis.toml"
    file.write_text(CONFIGURATION)
    address = f"https://127.0.0.1:{harness.gateway.ports['http']}/v2/openapi.json"
    done = subprocess.run(
        [
            Path(python_with("schemathesis")).with_name("schemathesis"),
            f"--config-file={file}",
            "run",
            address,
            f"--tls-verify={harness.state / 'tls' / 'servers.pem'}",
            f"--header=Authorization: Bearer {secret}",
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={EXAMPLES}",
            "--phases=coverage,fuzzing",
            "--generation-deterministic",
            "--no-shrink",
            "--no-color",
            *more,
        ],
        # Where it leaves what it would replay.
        cwd=harness.state,
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert done.returncode == 0, done.stdout


def test_what_clients_are_answered_is_described(harness: GatewayHarness) -> None:
    run_schemathesis(harness, harness.profile("client").token.read_text().strip())


def test_what_staff_are_answered_is_described(harness: GatewayHarness) -> None:
    run_schemathesis(harness, api_key(harness, "auditor"), "--include-path-regex=stats|index")
