"""Databases that tests of several kinds share, and the list of failures at the end of a run.

PostgreSQL is the server of SEALGATE_TEST_DATABASE (a URL), or else one that the tests start, once
for the whole run. Each test has a schema of its own.
"""

import gc
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import create_engine, inspect, make_url
from sqlalchemy.schema import DropSchema

from tests.support.harness import on_request, shared_run, shared_statements
from tests.support.harness.servers.bucket import CREDENTIALS, BucketServer
from tests.support.harness.servers.postgres import PostgresServer, other_schema
from tests.support.harness.servers.schemas import EmptyTables
from tests.support.harness.transports import need_native

# The same examples each time, and none fails because a machine is slow: `make fuzz` looks for more.
hypothesis.settings.register_profile("sealgate", deadline=None, derandomize=True)
hypothesis.settings.load_profile("sealgate")


_LISTED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    """End a run that gets SIGTERM as by Ctrl-C, so that it still lists what has failed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Before pytest-xdist's workers start, so that they share it.
    shared_run.begin()
    shared_statements.share()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-database", action="store_true", help="all cases on PostgreSQL")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files of which no test is to run, unless they are named: each of pytest-xdist's
    workers would import them, with libraries that they alone need.
    """
    if config.option.markexpr != on_request.COMMON or not collection_path.match("test_*.py"):
        return None
    named = (Path(argument.split("::")[0]).resolve() for argument in config.args)
    if collection_path in named:
        return None
    return True if on_request.all_on_request(collection_path.read_text()) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test's cases on PostgreSQL leave the first, unless all were asked for."""
    if config.getoption("every_database"):
        return
    seen, left = set[tuple[object, str]](), list[pytest.Item]()
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and call.params.get("database_url") == "postgres":
            test = (item.parent, getattr(item, "originalname", item.name))
            if test in seen:
                left.append(item)
            seen.add(test)
    if left:
        config.hook.pytest_deselected(items=left)
        dropped = set(left)
        items[:] = [item for item in items if item not in dropped]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Let the garbage collector pass over the thousands of tests and modules, which stay anyway:
    looking through them took a quarter of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    yield
    _list_failures(terminalreporter)


def pytest_unconfigure(config: pytest.Config) -> None:
    """A run that breaks as it ends, in a fixture say, has no summary: list its failures all the
    same.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        _list_failures(reporter)


def _list_failures(reporter: pytest.TerminalReporter) -> None:
    """Each in one line, with its reason, once, after everything else."""
    if reporter.config.stash.get(_LISTED, False):
        return
    reporter.config.stash[_LISTED] = True
    for kind in ("failed", "error"):
        for report in reporter.stats.get(kind, ()):
            reporter.write_line(f"{kind.upper()} {report.nodeid} - {_reason(report)}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash else report.longreprtext).strip().splitlines() or ["no reason"]
    return str(lines[0] if crash else lines[-1])[:300]


@pytest.fixture(scope="session", params=["grpcio", "native"])
def transport(request: pytest.FixtureRequest) -> str:
    """The gRPC transport of a harness. A test that uses this runs on both."""
    if request.param == "native":
        need_native()
    return str(request.param)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that nobody stops."""
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty schema. Those whose names begin with its own go with it."""
    url = os.environ.get("SEALGATE_TEST_DATABASE") or request.getfixturevalue("postgres").url
    schema = f"test_{secrets.token_hex(6)}"
    # A busy machine may take longer to connect than the seconds after which a gateway gives up.
    patient = make_url(url).update_query_dict({"connect_timeout": "60"})
    yield other_schema(patient.render_as_string(hide_password=False), schema)
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        for name in inspect(connection).get_schema_names():
            if name.startswith(schema):
                connection.execute(DropSchema(name, cascade=True))
    engine.dispose()


@pytest.fixture(scope="session")
def empty_tables(request: pytest.FixtureRequest) -> Iterator[EmptyTables]:
    """Schemas on PostgreSQL whose tables one test after another finds empty."""
    url = os.environ.get("SEALGATE_TEST_DATABASE") or request.getfixturevalue("postgres").url
    tables = EmptyTables(url)
    yield tables
    tables.drop()


@pytest.fixture
def tables_url(empty_tables: EmptyTables) -> Iterator[str]:
    """The URL of a registry's empty tables; an answer log's are in the schema with `_answers`."""
    yield empty_tables.take()
    empty_tables.give_back()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/registry.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[BucketServer]:
    """A server of the S3 protocol, whose credentials are in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        server = BucketServer()
        yield server
        server.close()
