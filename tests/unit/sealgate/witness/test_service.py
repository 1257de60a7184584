"""Our witness: what it cosigns, and what it never does."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealgate.trust.transparency import Checkpoint, sign_checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey, cosignatures
from sealgate.witness.service import (
    LARGEST_BYTES,
    SIZE_TYPE,
    AddCheckpoint,
    Witness,
    WitnessMemory,
    WitnessReply,
)
from tests.support.builders.documents.people import ANSWER_LOG, key
from tests.support.fakes.growing_log import GrowingLog

TIME = 1_700_000_000
KEY = WitnessKey.of("witness.example", key("witness").public)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[WitnessMemory]:
    memory = WitnessMemory(tmp_path / "witness.db", create=True)
    yield memory
    memory.close()


def witness(memory: WitnessMemory) -> Witness:
    logs = {ANSWER_LOG: GrowingLog().vkey}
    return Witness("witness.example", key("witness"), logs, memory, lambda: TIME + 0.9)


def ask(
    at: Witness, log: GrowingLog, old: int, proof: tuple[bytes, ...] | None = None
) -> WitnessReply:
    hashes = log.consistency(old, log.size) if proof is None else proof
    return at.add_checkpoint(AddCheckpoint(old, hashes, log.checkpoint()).encode())


def test_it_cosigns_what_grows(memory: WitnessMemory) -> None:
    at, log = witness(memory), GrowingLog("a", "b", "c")
    for old in (0, 3, 3):
        reply = ask(at, log, old)
        assert reply.status == 200
        (found,) = cosignatures(log.checkpoint() + reply.text, (KEY,))
        assert found.time == TIME
    log.grow(*map(str, range(300)))
    assert ask(at, log, 3).status == 200
    assert memory.newest(ANSWER_LOG).size == 303


def test_another_old_size_gets_the_known_one(memory: WitnessMemory) -> None:
    at, log = witness(memory), GrowingLog("a", "b", "c")
    assert ask(at, log, 0).status == 200
    log.grow("d")
    for old in (0, 1, 4):
        assert ask(at, log, old) == WitnessReply(409, "3\n", SIZE_TYPE)


def test_a_smaller_tree_is_not_cosigned(memory: WitnessMemory) -> None:
    at = witness(memory)
    assert ask(at, GrowingLog("a", "b", "c"), 0).status == 200
    assert ask(at, GrowingLog("a", "b"), 0).status == 409
    assert ask(at, GrowingLog("a", "b"), 3, ()).status == 400
    assert memory.newest(ANSWER_LOG).size == 3


@pytest.mark.parametrize("leaves", [("a", "b", "X"), ("a", "X", "c", "d")])
def test_a_fork_is_not_cosigned(memory: WitnessMemory, leaves: tuple[str, ...]) -> None:
    at, log = witness(memory), GrowingLog("a", "b", "c")
    assert ask(at, log, 0).status == 200
    before = memory.newest(ANSWER_LOG)
    assert ask(at, GrowingLog(*leaves), 3).status == 422
    assert memory.newest(ANSWER_LOG) == before


def test_an_empty_tree_is_the_empty_tree(memory: WitnessMemory) -> None:
    at = witness(memory)
    assert ask(at, GrowingLog(), 0).status == 200
    forged = sign_checkpoint(Checkpoint(ANSWER_LOG, 0, bytes(32)), key("answer-log"))
    assert at.add_checkpoint(AddCheckpoint(0, (), forged).encode()).status == 422


def test_unknown_logs_and_keys(memory: WitnessMemory) -> None:
    at = witness(memory)
    assert ask(at, GrowingLog("a", origin="example.org/other"), 0).status == 404
    assert ask(at, GrowingLog("a", signer="mallory"), 0).status == 403
    assert memory.newest(ANSWER_LOG).size == 0


def test_what_is_cosigned_survives_a_restart(memory: WitnessMemory, tmp_path: Path) -> None:
    assert ask(witness(memory), GrowingLog("a", "b", "c"), 0).status == 200
    memory.close()
    again = WitnessMemory(tmp_path / "witness.db")
    assert ask(witness(again), GrowingLog("a", "X", "c"), 3).status == 422
    again.close()


def test_a_lost_memory_is_not_begun_again_unasked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        WitnessMemory(tmp_path / "witness.db")


class Meanwhile(WitnessMemory):
    """A memory in which another process keeps a checkpoint, just after this one has read it."""

    def __init__(self, path: Path, other: Witness, log: GrowingLog) -> None:
        super().__init__(path)
        self._other: tuple[Witness, GrowingLog] | None = (other, log)

    def newest(self, origin: str) -> Checkpoint:
        before = super().newest(origin)
        if self._other is not None:
            (other, log), self._other = self._other, None
            assert ask(other, log, before.size).status == 200
        return before


@pytest.mark.parametrize("kept", [(), ("a",)])
@pytest.mark.parametrize("first", [("a", "b"), ("a", "b", "c")])
@pytest.mark.parametrize("second", [("a", "X"), ("a", "X", "c"), ("a", "X", "c", "d")])
def test_two_processes_never_cosign_two_trees(
    memory: WitnessMemory, tmp_path: Path, kept: tuple[str, ...], first: tuple[str, ...], second
) -> None:
    """Both have read what was cosigned last, and both are shown a tree that extends it."""
    if kept:
        assert ask(witness(memory), GrowingLog(*kept), 0).status == 200
    slower = Meanwhile(tmp_path / "witness.db", witness(memory), GrowingLog(*first))
    told = ask(witness(slower), GrowingLog(*second), len(kept))
    assert told == WitnessReply(409, f"{len(first)}\n", SIZE_TYPE)
    log = GrowingLog(*first)
    assert memory.newest(ANSWER_LOG) == Checkpoint.parse(
        log.checkpoint().partition("\n\n")[0] + "\n"
    )
    slower.close()


def test_a_memory_is_not_lost_with_a_file_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / "witness.db").touch()
    with pytest.raises(FileNotFoundError):
        WitnessMemory(tmp_path / "witness.db")


def test_a_power_cut_after_the_answer_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At FULL, SQLite does not sync the folder after it has removed the journal, which a power cut
    may put back; the commit is then undone.
    """
    opened, connect = [], sqlite3.connect

    def noting(*words: Any, **more: Any) -> sqlite3.Connection:
        opened.append(connect(*words, **more))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", noting)
    memory = WitnessMemory(tmp_path / "witness.db", create=True)
    (found,) = opened
    assert found.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert found.execute("PRAGMA synchronous").fetchone() == (3,)
    memory.close()


GOOD = AddCheckpoint(0, (bytes(32),), GrowingLog("a").checkpoint()).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        GOOD.replace(b"old 0", b"old 00"),
        GOOD.replace(b"old 0", b"old -1"),
        GOOD.replace(b"old 0", b"old \xd9\xa3"),
        GOOD.replace(b"old 0", b"new 0"),
        GOOD.replace(b"AAAA", b"AAA"),
        GOOD.replace(b"AAA=", b"AAA"),
        b"old 0\n" + b"A" * 43 + b"=\n" * 64 + GOOD[6:],
        GOOD.replace(b"\n\n", b"\n", 1),
        GOOD[:-1],
        b"\xff" + GOOD,
        GOOD + b" " * LARGEST_BYTES,
    ],
)
def test_other_requests_are_malformed(memory: WitnessMemory, body: bytes) -> None:
    assert witness(memory).add_checkpoint(body).status == 400
