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
from registry.log.rows import ANSWERS
from registry.state import schema
from registry.storage.database import Database
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.keys import PrivateKey
from sealgate.trust.transparency import Checkpoint, sign_checkpoint
from tests.support.harness.gateway import GatewayHarness, question, refusal, rows
from tests.support.harness.policy_changes import accept
from tests.support.harness.servers.postgres import PostgresServer
from tests.support.oracles.intruder import Intruder

pytestmark = pytest.mark.slow

REGISTRY = list(schema.METADATA.sorted_tables)
ANSWER_TABLES = list(ANSWERS.leaves.metadata.sorted_tables)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def harness(request, tmp_path_factory) -> Iterator[GatewayHarness]:
    """Digits 1 is in production, under the second policy."""
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state")
    with (harness.state / "gateway.toml").open("a") as file:
        # So that the gateway writes nothing between a copy of its tables and what is done to them.
        file.write("\n[limits]\nanchor_every = 3600.0\n")
    server = PostgresServer() if request.param == "postgres" else None
    if server is not None:
        configuration = harness.state / "gateway.toml"
        text = configuration.read_text()
        for file in ("sqlite:///registry.db", "answers.db"):
            assert f'"{file}"' in text
            text = text.replace(f'"{file}"', f'"{server.url}"')
        configuration.write_text(text)
    try:
        harness.start()
        harness.publish("digits-standard", "digits")
        harness.promote("digits", 1)
        accept(harness)
        ask(harness)
        # The first anchor comes by itself; nothing else does.
        told = harness.command("audit", "verify", "--wait", "60")
        assert told.exit_code == 0, told.output
        yield harness
    finally:
        harness.stop()
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


def running(harness: GatewayHarness) -> Tables:
    store = harness.gateway.store
    return Tables(store.registry.ledger.database, store.answers.database)


@contextmanager
def stopped(harness: GatewayHarness) -> Iterator[Tables]:
    """Stop the gateway; at the end, undo every change to the tables and start it again."""
    harness.stop()
    config = GatewayConfig.read(harness.state / "gateway.toml")
    notes = {path: path.read_bytes() for path in harness.state.glob("seen*")}
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
        harness.start()
    assert ask(harness) == "1"


@contextmanager
def restored(tables: Tables) -> Iterator[None]:
    """Undo every change to the registry's tables at the end, while the gateway runs."""
    now, _ = tables.copy()
    try:
        yield
    finally:
        tables.put_back(now)


def ask(harness: GatewayHarness) -> str:
    return harness.inference().ModelInfer(question("digits", rows()), timeout=60).model_version


def elsewhere(harness: GatewayHarness) -> GatewayConfig:
    """The gateway's configuration, at ports that a gateway which never begins may keep."""
    config = GatewayConfig.read(harness.state / "gateway.toml")
    port = free_ports()
    return replace(config, listen=Listeners(f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"))


def start_is_refused(harness: GatewayHarness) -> Reason | str:
    """Why the gateway does not start: a reason, or what the configuration should say."""
    with pytest.raises((SealgateError, ConfigError)) as caught:
        build(elsewhere(harness))
    error = caught.value
    return error.reason if isinstance(error, SealgateError) else str(error)


@pytest.fixture
def last_week(harness):
    """Both databases as they were before something more happened in each."""
    before = running(harness).copy()
    harness.propose("digits", 1)
    ask(harness)
    return before


def test_a_registry_of_last_week_under_a_running_gateway(harness, last_week):
    tables = running(harness)
    with restored(tables):
        tables.put_back(last_week[0])
        assert ask(harness) == "1"
        with pytest.raises(SealgateError) as caught:
            harness.gateway.store.registry.snapshot()
        assert caught.value.reason is Reason.LOG_INCONSISTENT
        assert refusal(harness.propose, "digits", 1) is Reason.LOG_INCONSISTENT
    harness.propose("digits", 1)


@pytest.mark.parametrize("which", ["registry", "answers", "both"])
def test_databases_of_last_week_at_the_start(harness, last_week, which):
    registry = last_week[0] if which != "answers" else None
    answers = last_week[1] if which != "registry" else None
    with stopped(harness) as tables:
        tables.put_back(registry, answers)
        assert start_is_refused(harness) is Reason.LOG_INCONSISTENT


def test_where_the_notes_are_lost_the_engine_still_remembers(harness, last_week):
    """Both databases are put back and the notes are gone: nothing older is believed or loaded."""
    accept(harness)
    with stopped(harness) as tables:
        tables.put_back(*last_week)
        for path in harness.state.glob("seen-*.note"):
            path.unlink()
        gateway = build(elsewhere(harness))
        try:
            with pytest.raises(SealgateError) as caught:
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
def test_rows_deleted(harness, table: Table):
    with stopped(harness) as tables:
        tables.registry.delete(table)
        assert start_is_refused(harness) is Reason.LOG_INCONSISTENT


def test_every_row_of_both_deleted(harness):
    """An empty database is no new one to whoever saw the log."""
    with stopped(harness) as tables:
        tables.put_back({table: [] for table in REGISTRY}, {table: [] for table in ANSWER_TABLES})
        assert start_is_refused(harness) is Reason.LOG_INCONSISTENT


def test_a_policy_rolled_back_under_a_running_gateway(harness):
    tables = running(harness)
    version = harness.gateway.engine.policy_in_force().version
    with restored(tables):
        tables.registry.delete(schema.POLICIES, schema.POLICIES.c.version == version)
        harness.gateway.registry_sync.token = None
        harness.gateway.registry_sync.follow()
        assert harness.gateway.engine.policy_in_force().version == version
        assert harness.gateway.registry_sync.token is None
        assert ask(harness) == "1"
    accept(harness)


def test_a_note_that_is_not_the_logs(harness):
    with stopped(harness):
        note = harness.state / "seen-registry.note"
        checkpoint = Checkpoint("house.localhost/registry", 1, b"x" * 32)
        note.write_text(sign_checkpoint(checkpoint, PrivateKey.generate()))
        assert "seen-registry.note is not a checkpoint" in str(start_is_refused(harness))


def test_another_key_under_the_same_origin(harness):
    with stopped(harness):
        key = harness.state / "keys" / "registry-log.key"
        genuine = key.read_bytes()
        try:
            key.write_bytes(PrivateKey.generate().to_pem())
            assert "a new key needs a new origin" in str(start_is_refused(harness))
        finally:
            key.write_bytes(genuine)
