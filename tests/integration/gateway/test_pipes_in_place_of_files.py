"""A named pipe in the place of a file that a start reads: the start ends, or goes on without it.

It used to wait for the pipe's writer, for ever and without a line in the log.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness.gateway import PATIENCE, GatewayHarness
from tests.support.harness.processes.gateway_process import GatewayProcess

pytestmark = pytest.mark.slow

READ = (
    "gateway.toml",
    "issuer/jwks.json",
    "keys/answers.key",
    "tls/callers.pem",
    "tls/gateway.pem",
    "trust/root-1.pem",
    "seen.json",
    "seen-registry.note",
    "registry.db",
)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> GatewayHarness:
    """A stopped installation whose gateway has run, with digits 1 in production."""
    harness = GatewayHarness(tmp_path_factory.mktemp("pipes") / "state", "digits-standard")
    harness.start()
    harness.promote("digits", 1)
    harness.stop()
    return harness


def piped(path: Path) -> Iterator[Path]:
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    os.mkfifo(path, 0o600)
    yield path
    path.unlink()
    kept.rename(path)


@pytest.fixture(params=READ)
def read_file(harness: GatewayHarness, request: pytest.FixtureRequest) -> Iterator[Path]:
    yield from piped(harness.state / request.param)


@pytest.fixture
def artifact(harness: GatewayHarness) -> Iterator[Path]:
    yield from piped(next((harness.state / "artifacts").glob("??/*")))


def test_of_the_gateway_s_own_ends_the_start(harness: GatewayHarness, read_file: Path) -> None:
    process = GatewayProcess(harness.state)
    process.launch()
    try:
        assert process.ended(PATIENCE) != 0
        assert read_file.name in process.printed
        assert "Traceback" not in process.printed
    finally:
        if process.runs:
            process.kill()


def test_of_a_version_leaves_that_version_out(harness: GatewayHarness, artifact: Path) -> None:
    process = GatewayProcess(harness.state)
    process.start()
    try:
        assert "VERSION_ALTERED" in process.printed
    finally:
        process.kill()
