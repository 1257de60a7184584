"""Each log's newest checkpoint is remembered apart from its database, before anybody is told."""

from pathlib import Path

import pytest

from gateway.recording.log_memory import LogMemory
from registry.answers.answer_log import AnswerLog
from registry.log.rows import ANSWERS
from registry.policy.policies import PinnedRoot
from registry.registry import Registry
from registry.state import schema
from registry.storage.database import Database
from sealgate.reasons import Reason
from sealgate.trust.transparency import log_vkey
from tests.support.builders.documents.people import ANSWER_LOG, REGISTRY_LOG, key, refused
from tests.support.fakes.records import SUBJECTS, an_answer
from tests.support.harness.registry import RegistryHarness
from tests.support.oracles.intruder import Intruder

pytestmark = pytest.mark.no_tables

SIGNER = key("answer-log")


def memory(folder: Path, name: str = "answers") -> LogMemory:
    origin, signer = (ANSWER_LOG, SIGNER)
    if name == "registry":
        origin, signer = REGISTRY_LOG, key("registry-log")
    return LogMemory.beside(folder / "seen.json", name, log_vkey(origin, signer))


def remembered(folder: Path, name: str = "answers") -> int:
    checkpoint = memory(folder, name).checkpoint
    assert checkpoint is not None
    return checkpoint.size


class TestAnswers:
    def test_each_group_is_remembered_when_it_is_recorded(
        self, database_url: str, tmp_path: Path
    ) -> None:
        log = AnswerLog.open(database_url, ANSWER_LOG, SIGNER, SUBJECTS, memory=memory(tmp_path))
        assert remembered(tmp_path) == 0
        for size in (3, 4, 260):
            log.append([an_answer()] * min(256, size - log.size))
            assert remembered(tmp_path) == log.size
        log.close()

    @pytest.mark.parametrize("groups", [1, 2])
    def test_a_database_from_before_the_last_group_is_refused(
        self, database_url: str, tmp_path: Path, groups: int
    ) -> None:
        log = AnswerLog.open(database_url, ANSWER_LOG, SIGNER, SUBJECTS, memory=memory(tmp_path))
        log.append([an_answer()] * 3)
        database = Database.open(database_url, "answers")
        intruder = Intruder(database)
        before = intruder.copy(ANSWERS.leaves.metadata.sorted_tables)
        for _ in range(groups):
            log.append([an_answer()])
        log.close()
        intruder.put_back(before)
        database.close()
        with refused(Reason.LOG_INCONSISTENT):
            AnswerLog.open(database_url, ANSWER_LOG, SIGNER, SUBJECTS, memory=memory(tmp_path))

    def test_what_cannot_be_remembered_is_not_answered(
        self, database_url: str, tmp_path: Path
    ) -> None:
        folder = tmp_path / "memory"
        folder.mkdir()
        kept = _Broken(memory(folder))
        log = AnswerLog.open(database_url, ANSWER_LOG, SIGNER, SUBJECTS, memory=kept)
        kept.breaks = True
        with refused(Reason.RECORD_FAILED):
            log.append([an_answer()])
        kept.breaks = False
        # It is in the log all the same, which goes on.
        assert log.append([an_answer()]).first == 1
        assert remembered(folder) == 2
        log.close()


class _Broken:
    """A memory whose disk fails while `breaks`."""

    def __init__(self, seen: LogMemory) -> None:
        self.breaks = False
        self.checkpoint = seen.checkpoint
        self._seen = seen

    def keep(self, note: str) -> None:
        if self.breaks:
            raise OSError("no space left on device")
        self._seen.keep(note)


class TestRegistry:
    def open(self, harness: RegistryHarness, folder: Path) -> Registry:
        """Another gateway's view of the registry's registry, with a memory of its own."""
        return Registry.open(
            Database.open(harness.url, "registry"),
            harness.artifacts,
            origin=REGISTRY_LOG,
            log_signer=key("registry-log"),
            freshness_signer=key("fresh"),
            root=PinnedRoot(harness.policy.root_keys(), 2),
            clock=harness.clock,
            memory=memory(folder, "registry"),
        )

    def test_changes_of_ones_own_and_of_others_are_remembered(
        self, harness: RegistryHarness, tmp_path: Path
    ) -> None:
        registry = self.open(harness, tmp_path)
        begun = remembered(tmp_path, "registry")
        assert begun == registry.log.size()
        registry.models.create("paula", "mine")
        assert remembered(tmp_path, "registry") == begun + 1
        harness.registry.models.create("paula", "others")
        registry.snapshot()
        assert remembered(tmp_path, "registry") == begun + 2
        registry.close()

    def test_a_database_from_before_the_last_change_is_refused(
        self, harness: RegistryHarness, tmp_path: Path
    ) -> None:
        registry = self.open(harness, tmp_path)
        intruder = Intruder(harness.database)
        before = intruder.copy(schema.METADATA.sorted_tables)
        registry.models.create("paula", "mine")
        registry.close()
        intruder.put_back(before)
        with refused(Reason.LOG_INCONSISTENT):
            self.open(harness, tmp_path)
