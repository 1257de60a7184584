"""Erasing subjects and pruning old answers, by command, beside a gateway at work."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.cli import log
from gateway.config.document import GatewayConfig
from gateway.cosigning import CosignatureStore
from sealgate.audit import Auditor
from sealgate.reasons import Reason
from sealgate.trust.keys import PrivateKey
from sealgate.trust.receipts.answer_entry import is_pseudonym
from sealgate.trust.transparency import Checkpoint, sign_checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey, cosign
from sealgate.trust.transparency.note import split, vkey
from sealgate.v1 import log_pb2 as messages
from tests.support.harness.gateway import GatewayHarness, refusal, running
from tests.support.harness.policy_changes import accept, document

pytestmark = pytest.mark.slow

ENTRIES = 600


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayHarness]:
    """A gateway that has recorded 600 refusals of an auditor's."""
    with running(tmp_path_factory.mktemp("house") / "state") as harness:
        look = harness.logs().GetEntry
        for _ in range(ENTRIES):
            request = messages.GetEntryRequest(origin=answers(harness), index=10**9)
            assert refusal(look, request) is Reason.ENTRY_UNKNOWN
        harness.gateway.registry_sync.anchor()
        yield harness


def answers(harness: GatewayHarness) -> str:
    return harness.gateway.store.answers.origin


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is run in half a year and more."""

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=190)

    monkeypatch.setattr(log, "datetime", Later)


def prune(harness: GatewayHarness, *words: str) -> dict[str, object]:
    told = harness.command("log", "prune", "--json", *words)
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


def test_nothing_young_is_pruned(harness: GatewayHarness) -> None:
    assert prune(harness)["entries"] == 0
    for before in ("256", (datetime.now().astimezone()).strftime("%Y-%m-%dT%H:%M:%SZ")):
        told = harness.command("log", "prune", "--before", before)
        assert told.exit_code != 0
        assert Reason.RETENTION_HOLDS.name in told.output


@pytest.mark.usefixtures("later")
def test_a_clock_far_from_the_newest_entry_prunes_nothing(harness: GatewayHarness) -> None:
    for words in ((), ("--dry-run",), ("--before", "256")):
        told = harness.command("log", "prune", *words)
        assert told.exit_code != 0
        assert "--trust-clock" in told.output
    assert harness.gateway.store.answers.reader.first() == 0


@pytest.fixture
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's clock is the command's, so its newest entry is as new."""
    monkeypatch.setattr(log.Prunings, "newest", lambda _: log.datetime.now(UTC))


@pytest.fixture
def witness(harness: GatewayHarness) -> Iterator[Callable[[datetime], None]]:
    """A witness in `gateway.toml`, which cosigns at the times that it is given."""
    signer, name = PrivateKey.generate(), "witness.example"
    key = WitnessKey.of(name, signer.public)
    path = harness.state / "gateway.toml"
    before = path.read_text()
    path.write_text(f'{before}\n[[witnesses]]\nurl = "https://{name}"\nkey = "{key.vkey}"\n')
    store = CosignatureStore.open(GatewayConfig.read(path).trust.seen, [key])
    signed = harness.gateway.store.answers.reader.checkpoint()

    def cosigned(time: datetime) -> None:
        line = cosign(split(signed)[0], name, signer, int(time.timestamp()))
        store.keep(answers(harness), key, signed, line)

    yield cosigned
    path.write_text(before)
    store.path.unlink(missing_ok=True)


@pytest.mark.usefixtures("later", "believed")
def test_a_clock_that_gateways_believed_is_not_a_witness_s(
    harness: GatewayHarness, witness: Callable[[datetime], None]
) -> None:
    told = harness.command("log", "prune", "--dry-run")
    assert "no witness has cosigned yet" in told.output
    witness(datetime.now(UTC))
    told = harness.command("log", "prune", "--dry-run")
    assert "a witness last cosigned at" in told.output
    assert told.exit_code != 0
    witness(log.datetime.now(UTC))
    assert prune(harness, "--dry-run")["entries"] == 512


@pytest.mark.usefixtures("later")
def test_a_pruned_log_is_verified_and_goes_on(harness: GatewayHarness) -> None:
    assert prune(harness, "--trust-clock", "--dry-run")["entries"] == 512
    assert harness.gateway.store.answers.reader.first() == 0
    assert prune(harness, "--trust-clock", "--before", "300")["entries"] == 256
    assert prune(harness, "--trust-clock")["entries"] == 256
    told = harness.command("audit", "verify", "--wait", "60", "--json")
    assert told.exit_code == 0, told.output
    found = {log["log"]: log for log in json.loads(told.stdout)}[answers(harness)]
    assert found["first"] == 512
    assert found["entries"] >= ENTRIES
    request = messages.GetEntryRequest(origin=answers(harness), index=3)
    assert refusal(harness.logs().GetEntry, request) is Reason.ENTRY_PRUNED
    assert harness.command("audit", "show", "answers", "512").exit_code == 0
    auditor = Auditor(harness.channel("auditor"), harness.governance("auditor").policy())
    assert next(auditor.follow(answers(harness))).checkpoint.size >= ENTRIES
    harness.stop()
    harness.start()
    assert harness.command("audit", "verify", "--wait", "60").exit_code == 0


def test_a_gap_that_no_pruning_explains(harness: GatewayHarness) -> None:
    """The entries of a log are cut off in front by who can write the database."""
    from sqlalchemy import delete

    from registry.log.rows import ANSWERS

    database = harness.gateway.store.answers.database
    with database.writing() as connection:
        first = connection.exec_driver_sql('SELECT min("index") FROM log_leaves').scalar()
        rows = connection.execute(ANSWERS.leaves.select()).mappings().all()
        connection.execute(delete(ANSWERS.leaves).where(ANSWERS.leaves.c.index < first + 1))
        connection.commit()
    told = harness.command("audit", "verify")
    with database.writing() as connection:
        connection.execute(
            delete(ANSWERS.leaves).where(ANSWERS.leaves.c.index <= rows[-1]["index"])
        )
        connection.execute(ANSWERS.leaves.insert(), [dict(row) for row in rows])
        connection.commit()
    assert told.exit_code != 0
    assert Reason.LOG_INCONSISTENT.name in told.output


def test_an_erased_subject_cannot_be_opened(harness: GatewayHarness) -> None:
    logs, origin = harness.logs(), answers(harness)
    assert refusal(logs.GetEntry, messages.GetEntryRequest(origin=origin, index=10**9)) is (
        Reason.ENTRY_UNKNOWN
    )
    index = harness.gateway.recorder.size - 1
    receipt = logs.OpenEntry(messages.OpenEntryRequest(origin=origin, index=index)).receipt
    told = harness.command("subject", "erase", "auditor", "--yes", "--json")
    assert told.exit_code == 0, told.output
    (row,) = json.loads(told.stdout)
    assert row["entries"] > 0
    assert is_pseudonym(row["pseudonym"], "auditor")
    assert refusal(logs.OpenEntry, messages.OpenEntryRequest(origin=origin, index=index)) is (
        Reason.ENTRY_ERASED
    )
    # A receipt that somebody kept still verifies, and so does the log.
    kept = harness.state / "kept.json"
    kept.write_bytes(receipt)
    assert harness.command("receipt", "verify", str(kept)).exit_code == 0
    kept.write_bytes(receipt.replace(origin.encode(), b"elsewhere/answers"))
    told = harness.command("receipt", "verify", str(kept)).output
    assert "LOG_UNKNOWN" in told
    assert "`sealgate policy fetch`" in told
    assert harness.command("audit", "verify", "--wait", "60").exit_code == 0
    known = harness.command("subject", "erased", "auditor", "--json")
    assert [row["log"] for row in json.loads(known.stdout)] == [origin]
    other = harness.command("subject", "erased", "somebody", "--json")
    assert json.loads(other.stdout) == []
    # The log of the registry tells of it, and not the name.
    store = harness.gateway.store
    entries = [
        leaf for block in store.registry.log.entries(0, store.registry.log.size()) for leaf in block
    ]
    (event,) = [leaf for leaf in entries if b"subject.erased" in leaf]
    assert b'"auditor"' not in event
    assert row["pseudonym"].encode() in event


def test_only_an_admin_erases_and_only_here(harness: GatewayHarness) -> None:
    request = messages.EraseSubjectRequest(origin=answers(harness), subject="client")
    assert refusal(harness.logs("auditor").EraseSubject, request) is Reason.ROLE_TOO_LOW
    admin = harness.logs("admin").EraseSubject
    request = messages.EraseSubjectRequest(origin="example.org/other", subject="client")
    assert refusal(admin, request) is Reason.LOG_UNKNOWN
    request = messages.EraseSubjectRequest(origin=answers(harness))
    assert refusal(admin, request) is Reason.PARAMETER_MALFORMED


def test_the_state_stays_where_it_is(harness: GatewayHarness, tmp_path: Path) -> None:
    told = harness.command("log", "prune", "--config", str(tmp_path / "no.toml"))
    assert told.exit_code != 0


@pytest.mark.usefixtures("later")
def test_old_entries_of_other_gateways_are_left(harness: GatewayHarness) -> None:
    assert harness.command("log", "prune", "--trust-clock").exit_code == 0
    key, origin = PrivateKey.generate(), "house.localhost/answers-2"
    logs = document(harness)["logs"]
    logs["answers"].append(vkey(origin, key.public))
    accept(harness, logs=logs)
    note = sign_checkpoint(Checkpoint(origin, 300, bytes(32)), key)
    harness.gateway.store.registry.anchors.add("gateway", note)
    told = harness.command("log", "prune", "--trust-clock", "--json")
    assert told.exit_code == 3, told.output
    assert json.loads(told.stdout)["left"] == [origin]
