"""The containers' healthcheck, against a real gateway and a real engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import ROOT, GatewayHarness, running
from tests.support.harness.processes.engine_process import EngineProcess

SCRIPT = ROOT / "deploy" / "container" / "healthcheck.py"


def check(state: Path, part: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, SCRIPT, part],
        env={**os.environ, "SEALGATE_STATE": str(state), **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.strip()


def test_a_gateway(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with running(state):
        assert check(state, "gateway") == (0, "gateway: SERVING")
        other = str(state / "tls" / "callers.pem")
        assert check(state, "gateway", SEALGATE_AUTHORITY=other)[0] == 1
        assert check(state, "gateway", SEALGATE_NAME="gateway.example")[0] == 1


def test_an_engine(tmp_path: Path) -> None:
    state = tmp_path / "state"
    GatewayHarness(state, engine=EnginePlace())
    process = EngineProcess(state)
    process.start()
    try:
        assert check(state, "engine") == (0, "engine: SERVING")
    finally:
        process.kill()
    assert check(state, "engine")[0] == 1


@pytest.mark.parametrize("part", ["gateway", "engine"])
def test_where_nothing_is(tmp_path: Path, part: str) -> None:
    status, said = check(tmp_path, part)
    assert status == 1
    assert f"{part}.toml" in said
