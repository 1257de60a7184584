"""A database that was put back, or lost rows, under a gateway that runs and one that starts.

The intruder has full SQL access to the registry's database and the answers', and no key.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Table

from demo.stage import free_ports
from gateway.app import build
from gateway.config.document import GatewayConfig
from gateway.config.sections import Listeners
from registry.log.tables import ANSWERS
from registry.state import schema
from registry.storage.database import Database
from sealgate.reasons import Reason, Refusal
from sealgate.settings import ConfigError
from sealgate.trust.keys import PrivateKey
from sealgate.trust.transparency import Checkpoint, sign_checkpoint
from tests.support.house import House, question, refusal, rows
from tests.support.intruder import Intruder
from tests.support.postgres import PostgresServer
from tests.support.succession import accept

REGISTRY = list(schema.METADATA.sorted_tables)
ANSWER_TABLES = list(ANSWERS.leaves.metadata.sorted_tables)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def house(request, tmp_path_factory) -> Iterator[House]:
    """Digits 1 is in production, under the second policy."""
    house = House(tmp_path_factory.mktemp("house") / "state")
    with (house.state / "gateway.toml").open("a") as file:
        # So that the gateway writes nothing between a copy of its tables and what is done to them.
        file.write("\n[limits]\nanchor_every = 3600.0\n")
    server = PostgresServer() if request.param == "postgres" else None
    if server is not None:
        configuration = house.state / "gateway.toml"
        text = configuration.read_text()
        for file in ("sqlite:///registry.db", "answers.db"):
            assert f'"{file}"' in text
            text = text.replace(f'"{file}"', f'"{server.url}"')
        configuration.write_text(text)
    try:
        house.start()
        house.publish("digits-1", "digits")
        house.promote("digits", 1)
        accept(house)
        ask(house)
        # The first anchor comes by itself; nothing else does.
        told = house.command("audit", "verify", "--wait", "60")
        assert told.exit_code == 0, told.output
        yield house
    finally:
        house.stop()
        if server is not None:
            server.close()


class Tables:
    """The intruder's way to both databases, and what they hold."""

    def __init__(self, registry: Database, answers: Database) -> None:
        self.registry, self.answers = Intruder(registry), Intruder(answers)

    def copy(self):
        return self.registry.copy(REGISTRY), self.answers.copy(ANSWER_TABLES)

    def put_back(self, registry=None, answers=None) -> None:
        if registry is not None:
            self.registry.put_back(registry)
        if answers is not None:
            self.answers.put_back(answers)


def running(house: House) -> Tables:
    store = house.gateway.store
    return Tables(store.registry.ledger.database, store.answers.database)


@contextmanager
def stopped(house: House) -> Iterator[Tables]:
    """While no gateway runs. Whatever is done to the tables is undone, and the gateway starts."""
    house.stop()
    config = GatewayConfig.read(house.state / "gateway.toml")
    notes = {path: path.read_bytes() for path in house.state.glob("seen*")}
    try:
        with (
            closing(Database.open(config.registry.database, "registry")) as registry,
            closing(Database.open(config.answers.database, "answers")) as answers,
        ):
            tables = Tables(registry, answers)
            now = tables.copy()
            try:
                yield tables
            finally:
                tables.put_back(*now)
                for path, data in notes.items():
                    path.write_bytes(data)
    finally:
        house.start()
    assert ask(house) == "1"


@contextmanager
def restored(tables: Tables) -> Iterator[None]:
    """Whatever is done to the registry's tables is undone, under the gateway that runs."""
    now, _ = tables.copy()
    try:
        yield
    finally:
        tables.put_back(now)


def ask(house: House) -> str:
    return house.inference().ModelInfer(question("digits", rows()), timeout=60).model_version


def elsewhere(house: House) -> GatewayConfig:
    """The house's configuration, at ports that a gateway which never begins may keep."""
    config = GatewayConfig.read(house.state / "gateway.toml")
    port = free_ports()
    return replace(config, listen=Listeners(f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"))


def start_is_refused(house: House) -> Reason | str:
    """Why the gateway does not start: a reason, or what the configuration should say."""
    with pytest.raises((Refusal, ConfigError)) as caught:
        build(elsewhere(house))
    error = caught.value
    return error.reason if isinstance(error, Refusal) else str(error)


@pytest.fixture
def last_week(house):
    """Both databases as they were before something more happened in each."""
    before = running(house).copy()
    house.propose("digits", 1)
    ask(house)
    return before


def test_a_registry_of_last_week_under_a_running_gateway(house, last_week):
    tables = running(house)
    with restored(tables):
        tables.put_back(last_week[0])
        assert ask(house) == "1"
        with pytest.raises(Refusal) as caught:
            house.gateway.store.registry.snapshot()
        assert caught.value.reason is Reason.LOG_INCONSISTENT
        assert refusal(house.propose, "digits", 1) is Reason.LOG_INCONSISTENT
    house.propose("digits", 1)


@pytest.mark.parametrize("which", ["registry", "answers", "both"])
def test_databases_of_last_week_at_the_start(house, last_week, which):
    registry = last_week[0] if which != "answers" else None
    answers = last_week[1] if which != "registry" else None
    with stopped(house) as tables:
        tables.put_back(registry, answers)
        assert start_is_refused(house) is Reason.LOG_INCONSISTENT


def test_where_the_notes_are_lost_the_engine_still_remembers(house, last_week):
    """Both databases are put back and the notes are gone: nothing older is believed or loaded."""
    accept(house)
    with stopped(house) as tables:
        tables.put_back(*last_week)
        for path in house.state.glob("seen-*.note"):
            path.unlink()
        gateway = build(elsewhere(house))
        try:
            with pytest.raises(Refusal) as caught:
                gateway.start()
        finally:
            gateway.stop()
        assert caught.value.reason is Reason.POLICY_INVALID
        assert gateway.engine.policy is None


@pytest.mark.parametrize(
    "table",
    [
        schema.POINTERS,
        schema.APPROVALS,
        schema.POLICIES,
        schema.EVIDENCE,
        schema.FRESHNESS,
        schema.LOG.checkpoints,
        schema.LOG.tiles,
    ],
    ids=lambda table: table.name,
)
def test_rows_deleted(house, table: Table):
    with stopped(house) as tables:
        tables.registry.delete(table)
        assert start_is_refused(house) is Reason.LOG_INCONSISTENT


def test_every_row_of_both_deleted(house):
    """An empty database is no new one to whoever saw the log."""
    with stopped(house) as tables:
        tables.put_back({table: [] for table in REGISTRY}, {table: [] for table in ANSWER_TABLES})
        assert start_is_refused(house) is Reason.LOG_INCONSISTENT


def test_a_policy_rolled_back_under_a_running_gateway(house):
    tables = running(house)
    version = house.gateway.policy().version
    with restored(tables):
        tables.registry.delete(schema.POLICIES, schema.POLICIES.c.version == version)
        house.gateway.registry_sync.token = None
        house.gateway.registry_sync.follow()
        assert house.gateway.policy().version == version
        assert house.gateway.registry_sync.token is None
        assert ask(house) == "1"
    accept(house)


def test_a_note_that_is_not_the_logs(house):
    with stopped(house):
        note = house.state / "seen-registry.note"
        checkpoint = Checkpoint("house.localhost/registry", 1, b"x" * 32)
        note.write_text(sign_checkpoint(checkpoint, PrivateKey.generate()))
        assert "seen-registry.note is not a checkpoint" in str(start_is_refused(house))


def test_another_key_under_the_same_origin(house):
    with stopped(house):
        key = house.state / "keys" / "registry-log.key"
        genuine = key.read_bytes()
        try:
            key.write_bytes(PrivateKey.generate().to_pem())
            assert "a new key needs a new origin" in str(start_is_refused(house))
        finally:
            key.write_bytes(genuine)
