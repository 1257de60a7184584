"""A dump and a restore on a real PostgreSQL, by the commands that `backup` and `restore` print."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealgate.reasons import Reason, SealgateError
from tests.support.harness.gateway import GatewayHarness, question, rows
from tests.support.harness.servers.postgres import PostgresServer

pytestmark = pytest.mark.long

SCHEMAS = {"registry": "registry", "subjects": "subjects", "answers": "gateway_1"}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with closing(PostgresServer()) as server:
        yield server


@pytest.fixture
def harness(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GatewayHarness]:
    """Its three databases are schemas of one database, and one has a name of its own."""
    monkeypatch.chdir(tmp_path)
    harness = GatewayHarness(tmp_path / "state")
    configuration = harness.state / "gateway.toml"
    text = configuration.read_text()
    for place, url in {
        "sqlite:///registry.db": server.url,
        "subjects.db": server.url,
        "answers.db": server.schema_url(SCHEMAS["answers"]),
    }.items():
        assert f'"{place}"' in text
        text = text.replace(f'"{place}"', f'"{url}"')
    configuration.write_text(text)
    harness.start()
    harness.publish("digits-standard", "digits")
    harness.promote("digits", 1)
    yield harness
    harness.stop()


def ask(harness: GatewayHarness) -> bytes:
    answer = harness.inference().ModelInfer(question("digits", rows(), receipt=True), timeout=60)
    return answer.parameters["receipt"].string_param.encode()


def run_printed(harness: GatewayHarness, server: PostgresServer, command: str, program: str) -> int:
    """Run every line of a refused command that begins with `program`; say how many there were."""
    refused = harness.command(command, ".")
    assert refused.exit_code == 1
    printed = [line.strip() for line in refused.output.splitlines()]
    lines = [line for line in printed if line.startswith(f"{program} ")]
    path = f"{server.programs}{os.pathsep}{os.environ['PATH']}"
    for line in lines:
        subprocess.run(
            shlex.split(line),
            check=True,
            env={**os.environ, "PATH": path, "PGPASSWORD": server.password},
        )
    return len(lines)


def test_what_is_printed_puts_the_databases_back(
    harness: GatewayHarness, server: PostgresServer
) -> None:
    Path("receipt.json").write_bytes(ask(harness))
    harness.stop()
    assert run_printed(harness, server, "backup", "pg_dump") == len(SCHEMAS)
    for schema in SCHEMAS.values():
        server.psql(f"DROP SCHEMA {schema} CASCADE")
    assert run_printed(harness, server, "restore", "pg_restore") == len(SCHEMAS)
    harness.start()
    harness.await_version("digits", 1)
    ask(harness)
    for words in (("audit", "verify", "--wait", "60"), ("receipt", "verify", "receipt.json")):
        told = harness.command(*words, person="auditor")
        assert told.exit_code == 0, told.output
    # The same dump is older than what the gateway remembers by now.
    harness.stop()
    assert run_printed(harness, server, "restore", "pg_restore") == len(SCHEMAS)
    with pytest.raises(SealgateError) as caught:
        harness.start()
    assert caught.value.reason is Reason.LOG_INCONSISTENT
