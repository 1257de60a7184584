"""A file that was cut short, as by a full disk: the start ends and names it."""

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
    "registry.db",
    "seen-registry.note",
    "seen.json",
    "subjects.db",
    "tls/gateway.pem",
    "trust/root-1.pem",
)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> GatewayHarness:
    """A stopped installation whose gateway has run, with digits 1 in production."""
    harness = GatewayHarness(tmp_path_factory.mktemp("cut") / "state", "digits-standard")
    harness.start()
    harness.promote("digits", 1)
    harness.stop()
    return harness


@pytest.fixture(params=READ)
def cut(harness: GatewayHarness, request: pytest.FixtureRequest) -> Iterator[Path]:
    path = harness.state / request.param
    data = path.read_bytes()
    # Of a memory of four slots, none may be whole.
    path.write_bytes(data[: 100 if path.suffix == ".note" else len(data) // 2])
    yield path
    path.write_bytes(data)


def test_a_start_ends_and_names_it(harness: GatewayHarness, cut: Path) -> None:
    process = GatewayProcess(harness.state)
    process.launch()
    try:
        assert process.ended(PATIENCE) != 0
        assert cut.name in process.printed
        assert "Traceback" not in process.printed
    finally:
        if process.runs:
            process.kill()


def test_it_starts_once_they_are_whole(harness: GatewayHarness) -> None:
    harness.start()
    harness.stop()
