"""The containers' healthcheck, against a real gateway, engine, events process and console."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from console.app import build, server
from console.config import ConsoleConfig
from demo.stage import free_ports
from sealgate.events.config import EventsConfig
from sealgate.events.process import EventsProcess
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.deployment import until
from tests.support.harness.gateway import ROOT, GatewayHarness, running
from tests.support.harness.processes.engine_process import EngineProcess

EVENTS = """
[gateway]
profile = "people/events/profile.toml"
[state]
database = "events.sqlite"
[metrics]
listen = "127.0.0.1:{port}"
[network]
hosts = ["127.0.0.1"]
[[destinations]]
name = "ops"
url = "http://127.0.0.1:9/"
loopback = true
secrets = ["ops.key"]
"""
CONSOLE = """[listen]
address = "127.0.0.1:{port}"
origin = "https://localhost"
certificate = "tls/gateway.pem"
key = "tls/gateway.key"

"""
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


def test_events(tmp_path: Path) -> None:
    state, port = tmp_path / "state", free_ports()
    with running(state) as harness:
        assert harness.command("events", "secret", str(state / "ops.key")).exit_code == 0
        (state / "events.toml").write_text(EVENTS.format(port=port))
        process = EventsProcess(EventsConfig.read(state / "events.toml"))
        process.start()
        try:
            until(lambda: check(state, "events") == (0, "events: ok"))
        finally:
            process.stop()
        assert check(state, "events")[0] == 1


def test_a_console_with_its_own_certificate(tmp_path: Path) -> None:
    state, port = tmp_path / "state", free_ports()
    with running(state) as harness:
        text = (state / "console.toml").read_text()
        listen = CONSOLE.format(port=port)
        (state / "console.toml").write_text(
            text.replace(text[text.index("[listen]") : text.index("[gateway]")], listen)
        )
        config = ConsoleConfig.read(state / "console.toml")
        running_console = server(config, build(config))
        thread = threading.Thread(target=running_console.run, daemon=True)
        thread.start()
        try:
            until(lambda: running_console.started)
            assert check(state, "console") == (0, "console: ok")
            shutil.copy(harness.state / "tls" / "callers.pem", state / "tls" / "gateway.pem")
            assert check(state, "console")[0] == 1
        finally:
            running_console.should_exit = True
            thread.join()


@pytest.mark.parametrize("part", ["gateway", "engine", "events", "console"])
def test_where_nothing_is(tmp_path: Path, part: str) -> None:
    status, said = check(tmp_path, part)
    assert status == 1
    assert f"{part}.toml" in said
