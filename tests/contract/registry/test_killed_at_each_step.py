"""A process killed at each step of a commit leaves the whole change with its entries, or nothing of
it.
"""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from registry.answers.answer_log import AnswerLog, LoggedAnswer
from registry.log.rows import ANSWERS, OPENINGS
from registry.storage.database import Database
from sealgate.trust.receipts import answer_entry
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.fakes.records import SUBJECTS, opening
from tests.support.harness.processes.killing import Steps, killed_at
from tests.support.harness.registry import RegistryHarness

pytestmark = [
    pytest.mark.slow,
    pytest.mark.no_tables,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
]


def size_of(folder: Path, url: str) -> int:
    """Opening the registry compares every row with every entry."""
    harness = RegistryHarness(folder, url)
    size = harness.registry.verify().size
    harness.registry.close()
    return size


def create(harness: RegistryHarness, number: int) -> Callable[[], object]:
    return lambda: harness.registry.models.create("paula", f"model-{number}")


def promote(harness: RegistryHarness, number: int) -> Callable[[], object]:
    version = harness.publish(f"m{number}", f"m{number}")
    proposal = harness.approve(harness.propose(version), "anna", "arne")
    return lambda: harness.promote(proposal)


@pytest.mark.parametrize("change", [create, promote])
def test_a_change_of_state(
    tmp_path: Path,
    database_url: str,
    change: Callable[[RegistryHarness, int], Callable[[], object]],
) -> None:
    RegistryHarness(tmp_path, database_url).found().registry.close()
    whole: list[bool] = []
    for step in itertools.count(1):

        def work(steps: Steps) -> None:
            harness = RegistryHarness(tmp_path, database_url)
            if change is promote:
                harness.registry.models.create("paula", f"m{step}")  # noqa: B023
            act = change(harness, step)  # noqa: B023
            Path(tmp_path / "before").write_text(str(harness.registry.log.size()))
            steps.arm()
            act()

        killed = killed_at(step, work)
        grown = size_of(tmp_path, database_url) - int((tmp_path / "before").read_text())
        assert grown in (0, 1), f"step {step}"
        whole.append(grown == 1)
        if not killed:
            break
    # Nothing of it up to the commit, all of it from there on.
    assert whole == sorted(whole)
    assert whole.count(False) > 5
    assert whole.count(True) >= 2


def test_a_group_of_answers(database_url: str) -> None:
    leaf = answer_entry.leaf(answer_entry.FIELDS, answer_entry.salts(b"key", b"nonce"))
    AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS).close()
    size = 0
    for step in itertools.count(1):

        def work(steps: Steps) -> None:
            log = AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS)
            steps.arm()
            log.append([LoggedAnswer(leaf, opening(nonce=b"nonce"))] * 256)

        killed = killed_at(step, work)
        log = AnswerLog.open(database_url, ANSWER_LOG, key("answer-log"), SUBJECTS)
        assert log.reader.verify().size == log.size
        assert log.size - size in (0, 256), f"step {step}"
        assert log.size == count(database_url)
        size = log.size
        log.close()
        if not killed:
            break
    assert step > 6
    assert size == 512


def count(url: str) -> int:
    """How many openings there are; as many as leaves."""
    database = Database.open(url, "answers")
    with database.reading() as connection:
        counts = [
            connection.scalar(select(func.count()).select_from(table))
            for table in (OPENINGS, ANSWERS.leaves)
        ]
    database.close()
    assert counts[0] == counts[1]
    return int(counts[0] or 0)
