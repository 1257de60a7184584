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
from tests.support.gateway_process import GatewayProcess
from tests.support.house import House, question, rows
from tests.support.people import refused


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house whose production is digits 1; no gateway of this process runs."""
    house = House(tmp_path / "state", "digits-1")
    house.start()
    house.promote("digits", 1)
    house.stop()
    yield house
    house.stop()


def ask(house: House) -> None:
    house.inference().ModelInfer(question("digits", rows()), timeout=60)


def create(house: House, name: str) -> None:
    house.registry("publisher").CreateModel(messages.CreateModelRequest(model=name), timeout=60)


def copied(house: House, name: str) -> Callable[[], None]:
    """A copy of a database at work, with its write-ahead log; what is returned puts it back."""
    kept = house.state / f"{name}-before"
    kept.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy2(house.state / f"{name}{suffix}", kept)

    def put_back() -> None:
        for path in house.state.glob(f"{name}*"):
            if path.is_file():
                path.unlink()
        for path in kept.iterdir():
            shutil.copy2(path, house.state)

    return put_back


def elsewhere(house: House) -> GatewayConfig:
    """The house's configuration, at ports that a gateway which never begins may keep."""
    port = free_ports()
    config = GatewayConfig.read(house.state / "gateway.toml")
    return replace(config, listen=Listeners(f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"))


ACTS = {
    "answers.db": lambda house, number: ask(house),
    "registry.db": lambda house, number: create(house, f"model-{number}"),
}


@pytest.mark.parametrize("name", ACTS)
def test_a_database_from_before_the_last_answer_is_refused(house: House, name: str) -> None:
    process = GatewayProcess(house.state)
    process.start()
    try:
        ask(house)
        ACTS[name](house, 1)
        put_back = copied(house, name)
        ACTS[name](house, 2)
    finally:
        process.kill()
    newest = {path: path.read_bytes() for path in house.state.glob(f"{name}*") if path.is_file()}
    put_back()
    with refused(Reason.LOG_INCONSISTENT) as caught:
        build(elsewhere(house))
    # What to do stands in it, and which file remembers.
    assert "Put the newest copy in its place" in str(caught.value)
    assert f"seen-{name.removesuffix('.db')}.note" in str(caught.value)
    # With the newest copy it starts, for what was remembered is in it.
    for path in house.state.glob(f"{name}*"):
        if path.is_file():
            path.unlink()
    for path, data in newest.items():
        path.write_bytes(data)
    house.start()
    ask(house)


def test_a_kill_alone_holds_up_nobody(house: House) -> None:
    process = GatewayProcess(house.state)
    for _ in range(2):
        process.start()
        try:
            ask(house)
            create(house, f"model-{process.pid}")
        finally:
            process.kill()
    with closing(sqlite3.connect(house.state / "answers.db")) as database:
        assert database.execute("PRAGMA quick_check").fetchone() == ("ok",)
    house.start()
    ask(house)
