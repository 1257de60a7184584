"""A gateway is killed right after it answered, and a database from just before is put back."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from demo.stage import free_ports
from gateway.app import build
from gateway.config.document import GatewayConfig
from gateway.config.sections import Listeners
from sealgate.reasons import Reason
from sealgate.v1 import registry_pb2 as messages
from tests.support.builders.documents.people import refused
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.processes.gateway_process import GatewayProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[GatewayHarness]:
    """A gateway whose production is digits 1; no gateway of this process runs."""
    harness = GatewayHarness(tmp_path / "state", "digits-standard")
    harness.start()
    harness.promote("digits", 1)
    harness.stop()
    yield harness
    harness.stop()


def ask(harness: GatewayHarness) -> None:
    harness.inference().ModelInfer(question("digits", rows()), timeout=60)


def create(harness: GatewayHarness, name: str) -> None:
    harness.registry("publisher").CreateModel(messages.CreateModelRequest(model=name), timeout=60)


def copied(harness: GatewayHarness, name: str) -> Callable[[], None]:
    """A copy of a database at work, with its write-ahead log; what is returned puts it back."""
    kept = harness.state / f"{name}-before"
    kept.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy2(harness.state / f"{name}{suffix}", kept)

    def put_back() -> None:
        for path in harness.state.glob(f"{name}*"):
            if path.is_file():
                path.unlink()
        for path in kept.iterdir():
            shutil.copy2(path, harness.state)

    return put_back


def elsewhere(harness: GatewayHarness) -> GatewayConfig:
    """The gateway's configuration, at ports that a gateway which never begins may keep."""
    port = free_ports()
    config = GatewayConfig.read(harness.state / "gateway.toml")
    return replace(config, listen=Listeners(f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"))


ACTS = {
    "answers.db": lambda harness, number: ask(harness),
    "registry.db": lambda harness, number: create(harness, f"model-{number}"),
}


@pytest.mark.parametrize("name", ACTS)
def test_a_database_from_before_the_last_answer_is_refused(
    harness: GatewayHarness, name: str
) -> None:
    process = GatewayProcess(harness.state)
    process.start()
    try:
        ask(harness)
        ACTS[name](harness, 1)
        put_back = copied(harness, name)
        ACTS[name](harness, 2)
    finally:
        process.kill()
    newest = {path: path.read_bytes() for path in harness.state.glob(f"{name}*") if path.is_file()}
    put_back()
    with refused(Reason.LOG_INCONSISTENT) as caught:
        build(elsewhere(harness))
    # The error says what to do, and which file holds the newest checkpoint seen.
    assert "Put the newest copy in its place" in str(caught.value)
    assert f"seen-{name.removesuffix('.db')}.note" in str(caught.value)
    # With the newest copy it starts, for what was remembered is in it.
    for path in harness.state.glob(f"{name}*"):
        if path.is_file():
            path.unlink()
    for path, data in newest.items():
        path.write_bytes(data)
    harness.start()
    ask(harness)


def test_a_kill_alone_holds_up_nobody(harness: GatewayHarness) -> None:
    process = GatewayProcess(harness.state)
    for _ in range(2):
        process.start()
        try:
            ask(harness)
            create(harness, f"model-{process.pid}")
        finally:
            process.kill()
    with closing(sqlite3.connect(harness.state / "answers.db")) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    harness.start()
    ask(harness)
