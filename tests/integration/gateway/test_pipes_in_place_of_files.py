"""A named pipe in the place of a file that a start reads: the start ends, or goes on without it.

It used to wait for the pipe's writer, for ever and without a line in the log.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.house import PATIENCE, House

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
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A stopped installation whose gateway has run, with digits 1 in production."""
    house = House(tmp_path_factory.mktemp("pipes") / "state", "digits-1")
    house.start()
    house.promote("digits", 1)
    house.stop()
    return house


def piped(path: Path) -> Iterator[Path]:
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    os.mkfifo(path, 0o600)
    yield path
    path.unlink()
    kept.rename(path)


@pytest.fixture(params=READ)
def read_file(house: House, request: pytest.FixtureRequest) -> Iterator[Path]:
    yield from piped(house.state / request.param)


@pytest.fixture
def artifact(house: House) -> Iterator[Path]:
    yield from piped(next((house.state / "artifacts").glob("??/*")))


def test_of_the_gateway_s_own_ends_the_start(house: House, read_file: Path) -> None:
    process = GatewayProcess(house.state)
    process.launch()
    try:
        assert process.ended(PATIENCE) != 0
        assert read_file.name in process.printed
        assert "Traceback" not in process.printed
    finally:
        if process.runs:
            process.kill()


def test_of_a_version_leaves_that_version_out(house: House, artifact: Path) -> None:
    process = GatewayProcess(house.state)
    process.start()
    try:
        assert "VERSION_ALTERED" in process.printed
    finally:
        process.kill()
