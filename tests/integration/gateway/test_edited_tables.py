"""Rows edited, deleted, forged and put back under a gateway that runs: no credential comes back.

The intruder has full SQL access to the registry's database and no key.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager

import grpc
import pytest

from gateway.config.document import GatewayConfig
from registry.state import schema
from registry.storage.database import Database
from sealgate.oip.grpc_service_pb2 import ServerMetadataRequest
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason
from sealgate.remote import Access, reason_of
from tests.support.harness.gateway import GatewayHarness
from tests.support.harness.servers.postgres import PostgresServer
from tests.support.oracles.intruder import Intruder

EVERYTHING = list(schema.METADATA.sorted_tables)
KEY_TABLES = [schema.API_KEYS, schema.API_KEY_REVOCATIONS]
LIMITS = "\n[limits]\nanchor_every = 3600.0\n"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def harness(request, tmp_path_factory) -> Iterator[GatewayHarness]:
    harness = GatewayHarness(tmp_path_factory.mktemp("house") / "state")
    configuration = harness.state / "gateway.toml"
    text = configuration.read_text() + LIMITS
    server = PostgresServer() if request.param == "postgres" else None
    if server is not None:
        text = text.replace('"sqlite:///registry.db"', f'"{server.url}"')
    configuration.write_text(text)
    harness.start()
    yield harness
    harness.stop()
    if server is not None:
        server.close()


@pytest.fixture
def intruder(harness) -> Iterator[Intruder]:
    place = GatewayConfig.read(harness.state / "gateway.toml").registry.database
    with closing(Database.open_unchanged(place, "registry")) as database:
        yield Intruder(database)


@contextmanager
def restored(intruder: Intruder) -> Iterator[None]:
    """Undo every change to the rows of keys at the end; added rows stay."""
    before = intruder.copy(KEY_TABLES)
    try:
        yield
    finally:
        rows = intruder.copy(KEY_TABLES)
        for table, genuine in before.items():
            entries = {row["entry"] for row in genuine}
            genuine += [row for row in rows[table] if row["entry"] not in entries]
        intruder.put_back(before)


def new_key(harness) -> tuple[str, str]:
    """The id and the text of a key of the client's that works."""
    result = harness.command("api-key", "create", "client", "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert outcome(harness, made["key"]) is None
    return made["id"], made["key"]


def revoke(harness, key_id: str):
    return harness.command("api-key", "revoke", key_id, "--reason", "leaked")


def revoked_key(harness) -> str:
    key_id, text = new_key(harness)
    result = revoke(harness, key_id)
    assert result.exit_code == 0, result.output
    assert outcome(harness, text) is Reason.API_KEY_REVOKED
    return text


def outcome(harness, key: str) -> Reason | None:
    """Why a call with that key alone is refused; None where it is answered."""
    profile = harness.profile("client")
    access = Access(profile.endpoint, profile.server_authority.read_bytes(), key, None, None)
    with grpc.secure_channel(access.endpoint, access.credentials()) as channel:
        call = GRPCInferenceServiceStub(channel).ServerMetadata
        try:
            call(ServerMetadataRequest(), timeout=60)
        except grpc.RpcError as error:
            return reason_of(error)
    return None


def test_a_revoked_key_stays_revoked_though_its_revocation_is_deleted(harness, intruder):
    text = revoked_key(harness)
    with restored(intruder):
        intruder.delete(schema.API_KEY_REVOCATIONS)
        # The gateway has looked at the tables once it has made another key.
        new_key(harness)
        assert outcome(harness, text) is Reason.API_KEY_REVOKED


def test_a_revoked_key_stays_revoked_though_its_row_is_put_in_again(harness, intruder):
    key_id, text = new_key(harness)
    before = intruder.copy(KEY_TABLES)
    assert revoke(harness, key_id).exit_code == 0
    with restored(intruder):
        intruder.put_back(before)
        new_key(harness)
        assert outcome(harness, text) is Reason.API_KEY_REVOKED


def test_a_revoked_key_stays_revoked_under_an_older_database(harness, intruder):
    key_id, text = new_key(harness)
    before = intruder.copy(EVERYTHING)
    assert revoke(harness, key_id).exit_code == 0
    newest = intruder.copy(EVERYTHING)
    intruder.put_back(before)
    try:
        result = harness.command("api-key", "create", "client")
        assert "LOG_INCONSISTENT" in result.output
        assert outcome(harness, text) is Reason.API_KEY_REVOKED
    finally:
        intruder.put_back(newest)


def test_a_forged_key_is_not_known(harness, intruder):
    """A genuine row under another id and holder, and one whose time was moved."""
    key_id, text = new_key(harness)
    with restored(intruder):
        here = schema.API_KEYS.c.key_id == key_id
        intruder.update(schema.API_KEYS, here, key_id="0" * 12, holder="admin")
        new_key(harness)
        assert outcome(harness, text.replace(key_id, "0" * 12)) is Reason.API_KEY_INVALID
        # Nor can a key that works be taken away by its row.
        assert outcome(harness, text) is None


def test_a_revocation_that_a_trigger_undoes_fails_and_the_key_falls(harness, intruder):
    key_id, text = new_key(harness)
    table = schema.API_KEY_REVOCATIONS
    intruder.undo_writes(table)
    try:
        result = revoke(harness, key_id)
        assert result.exit_code == 1
        assert "LOG_INCONSISTENT" in result.output
        assert outcome(harness, text) is Reason.API_KEY_REVOKED
    finally:
        intruder.stop_undoing(table)
    assert revoke(harness, key_id).exit_code == 0
