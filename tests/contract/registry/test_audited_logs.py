"""An auditor's findings on logs: anchors, tiles, and logs that are not shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from registry.answers.answer_log import AnswerLog
from registry.log.reader import LogReader
from registry.log.rows import ANSWERS
from registry.storage.database import Database
from sealgate.audit import Auditor
from sealgate.audit.answer_logs import find_anchor
from sealgate.audit.verification import (
    BROKEN,
    ELSEWHERE,
    INCOMPLETE,
    INTACT,
    LogReport,
    VerifyOptions,
    verify_logs,
)
from sealgate.reasons import Reason
from sealgate.trust.keys import PrivateKey
from sealgate.trust.transparency import log_vkey, open_checkpoint
from sealgate.trust.transparency.note import vkey
from sealgate.v1.log_pb2_grpc import LogServiceStub
from tests.support.builders.documents.people import ANSWER_LOG, REGISTRY_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.fakes.shown_logs import ShownLogs
from tests.support.harness.registry import RegistryHarness

pytestmark = pytest.mark.slow

SIGNER = key("answer-log")
OTHER = "example.org/other-answers"


class Record:
    """A registry, and an answer log of 600 entries that was anchored at 300 and at 500."""

    def __init__(self, harness: RegistryHarness, folder: Path) -> None:
        self.harness = harness
        self.folder = folder
        self.answers = AnswerLog.open(folder / "answers.db", ANSWER_LOG, SIGNER, SUBJECTS)
        self.open = [self.answers]
        self.fill(self.answers, 300)
        self.anchor(0)
        self.fill(self.answers, 500)
        self.anchor(300)
        self.fill(self.answers, 600)

    def fill(self, log: AnswerLog, size: int, word: str = "") -> None:
        while log.size < size:
            log.append([an_answer(f"{word}{log.size}")] * min(100, size - log.size))

    def anchor(self, before: int) -> None:
        log = self.answers
        proof = log.reader.consistency(before, log.size) if before else ()
        self.harness.registry.anchors.add("gateway", log.note, proof)

    def another(self, size: int, word: str = "") -> LogReader:
        """A log of so many entries by the same key, in a database of its own."""
        log = AnswerLog.open(self.folder / f"{word}{size}.db", ANSWER_LOG, SIGNER, SUBJECTS)
        self.open.append(log)
        self.fill(log, size, word)
        return log.reader

    def shown(self, *answers: LogReader) -> ShownLogs:
        return ShownLogs(self.harness.registry.log, *answers)

    def reports(self, *channels: ShownLogs, **asked: object) -> dict[str, LogReport]:
        chain = self.harness.registry.policies.chain().policies
        auditors = [Auditor(channel, chain[-1], chain) for channel in channels]
        found = verify_logs(
            auditors, chain, VerifyOptions(**asked), lambda origin, done, total: None
        )
        return {report.origin: report for report in found}


@pytest.fixture
def record(harness: RegistryHarness, tmp_path: Path) -> Iterator[Record]:
    record = Record(harness, tmp_path)
    yield record
    for log in record.open:
        log.close()


def test_all_is_intact_and_anchored(record: Record) -> None:
    found = record.reports(record.shown(record.answers.reader))
    assert [report.state for report in found.values()] == [INTACT, INTACT]
    finding = found[ANSWER_LOG].finding
    assert finding is not None
    assert (finding.size, finding.anchors, finding.anchored) == (600, 2, 500)
    assert finding.whole


@pytest.mark.parametrize(("size", "word"), [(3, ""), (300, ""), (499, ""), (700, "other")])
def test_a_log_that_does_not_extend_its_anchors(record: Record, size: int, word: str) -> None:
    """It was deleted and begun anew, put back, or rewritten, by whoever has its key."""
    fresh = record.shown(record.another(size, word))
    report = record.reports(fresh)[ANSWER_LOG]
    assert (report.state, report.reason) == (BROKEN, Reason.LOG_INCONSISTENT)
    assert "the anchor in entry" in report.detail
    policy = record.harness.registry.policies.chain().newest
    with refused(Reason.LOG_INCONSISTENT):
        Auditor(fresh, policy).verify(ANSWER_LOG, lambda done, total: None)


def test_a_log_without_an_anchor_is_not_called_intact(
    harness: RegistryHarness, tmp_path: Path
) -> None:
    log = AnswerLog.open(tmp_path / "answers.db", ANSWER_LOG, SIGNER, SUBJECTS)
    chain = harness.registry.policies.chain().policies
    for size, state in ((0, INTACT), (3, INCOMPLETE)):
        log.append([an_answer()] * size) if size else None
        auditor = Auditor(ShownLogs(harness.registry.log, log.reader), chain[-1], chain)
        _, report = verify_logs([auditor], chain, VerifyOptions(), lambda origin, done, total: None)
        assert report.state == state
        assert report.reason is (Reason.ENTRY_UNANCHORED if size else None)
    log.close()


class TestLogsThatAreNotShown:
    def test_one_that_is_anchored(self, record: Record) -> None:
        report = record.reports(record.shown())[ANSWER_LOG]
        assert (report.state, report.reason) == (INCOMPLETE, Reason.LOG_UNSEEN)
        assert "says 500 entries" in report.detail

    def test_one_that_only_an_earlier_policy_named(self, record: Record) -> None:
        line = vkey(OTHER, PrivateKey.generate().public)
        logs = record.harness.policy.answer_logs
        record.harness.accept(answer_logs=(*logs, line))
        record.harness.accept(answer_logs=logs)
        report = record.reports(record.shown(record.answers.reader))[OTHER]
        assert (report.state, report.reason) == (INCOMPLETE, Reason.LOG_UNSEEN)
        assert report.detail == "named by policy version 2; never anchored"

    def test_one_that_the_auditor_checks_elsewhere(self, record: Record) -> None:
        found = record.reports(record.shown(), elsewhere=(ANSWER_LOG,))
        assert found[ANSWER_LOG].state == ELSEWHERE

    def test_one_that_another_gateway_shows(self, record: Record) -> None:
        found = record.reports(record.shown(), record.shown(record.answers.reader))
        assert [report.state for report in found.values()] == [INTACT, INTACT]


@pytest.mark.parametrize("more", [0, 30])
def test_two_gateways_that_show_two_registries(record: Record, tmp_path: Path, more: int) -> None:
    """Somebody runs a second registry under the same keys, longer or shorter than the first."""
    folder = tmp_path / "fork"
    folder.mkdir()
    fork = RegistryHarness(folder, f"sqlite:///{folder / 'fork.db'}").found("forked")
    for number in range(more):
        fork.registry.models.create("paula", f"model-{number}")
    there = ShownLogs(fork.registry.log)
    found = record.reports(record.shown(record.answers.reader), there)
    assert {report.state for report in found.values()} == {BROKEN}
    assert found[REGISTRY_LOG].reason in (Reason.LOG_INCONSISTENT, Reason.PROOF_INVALID)
    fork.registry.close()


class TestTiles:
    """Of what is stored beside the entries, for proofs are made from it."""

    @pytest.mark.parametrize("level", [0, 1])
    def test_one_whose_hash_is_another(self, record: Record, level: int) -> None:
        table = ANSWERS.tiles
        reader, tile = record.answers.reader, (table.c.level == level, table.c.index == 0)
        stored = b"".join(reader.hashes(0, 2 if level else 256, level))
        with Database.open(record.folder / "answers.db", "answers").writing() as connection:
            damaged = stored[:32][::-1] + stored[32:]
            connection.execute(update(table).where(*tile).values(hashes=damaged))
            connection.commit()
        report = record.reports(record.shown(reader))[ANSWER_LOG]
        assert (report.state, report.reason) == (BROKEN, Reason.LOG_INCONSISTENT)

    def test_one_that_is_gone(self, record: Record) -> None:
        table = ANSWERS.tiles
        with Database.open(record.folder / "answers.db", "answers").writing() as connection:
            connection.execute(delete(table).where(table.c.level == 0, table.c.index == 0))
            connection.commit()
        report = record.reports(record.shown(record.answers.reader))[ANSWER_LOG]
        assert (report.state, report.reason) == (BROKEN, Reason.LOG_INCONSISTENT)


def test_a_policy_that_is_withheld(record: Record) -> None:
    chain = record.harness.registry.policies.chain().policies
    record.harness.accept(answer_logs=record.harness.policy.answer_logs)
    auditor = Auditor(record.shown(record.answers.reader), chain[-1], chain)
    found = list(verify_logs([auditor], chain, VerifyOptions(), lambda origin, done, total: None))
    assert {report.state for report in found} == {BROKEN}
    assert found[0].reason is Reason.POLICY_ROLLED_BACK


class TestAnchorOfOneEntry:
    def find(self, record: Record, index: int, *shown: LogReader) -> str:
        registry = record.harness.registry
        line = log_vkey(REGISTRY_LOG, key("registry-log"))
        newest = open_checkpoint(registry.note, line)
        chain = registry.policies.chain().policies
        proved = open_checkpoint(record.answers.note, chain[-1].log_key(ANSWER_LOG))
        logs = LogServiceStub(record.shown(*shown))
        return find_anchor(logs, newest, chain, proved, index)

    @pytest.mark.parametrize("index", [0, 299, 499])
    def test_it_is_covered(self, record: Record, index: int) -> None:
        assert "500 entries" in self.find(record, index, record.answers.reader)

    def test_it_follows_on_the_newest(self, record: Record) -> None:
        with refused(Reason.ENTRY_UNANCHORED):
            self.find(record, 500, record.answers.reader)

    def test_the_log_is_not_shown(self, record: Record) -> None:
        with refused(Reason.LOG_UNSEEN):
            self.find(record, 0)

    @pytest.mark.parametrize(("size", "reason"), [(3, "LOG_INCONSISTENT"), (700, "PROOF_INVALID")])
    def test_the_log_that_is_shown_is_another(self, record: Record, size: int, reason: str) -> None:
        with refused(Reason[reason]):
            self.find(record, 0, record.another(size, "other"))
