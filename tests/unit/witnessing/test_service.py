"""Our witness: what it cosigns, and what it never does."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealgate.trust.checkpoint import Checkpoint, sign_checkpoint
from sealgate.trust.cosignature import WitnessKey, cosignatures
from sealgate.witnessing.request import LARGEST_BYTES, SIZE_TYPE, AddCheckpoint
from sealgate.witnessing.service import Memory, Reply, Witness
from tests.support.growing_log import GrowingLog
from tests.support.people import ANSWER_LOG, key

TIME = 1_700_000_000
KEY = WitnessKey.of("witness.example", key("witness").public)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    memory = Memory(tmp_path / "witness.db", create=True)
    yield memory
    memory.close()


def witness(memory: Memory) -> Witness:
    logs = {ANSWER_LOG: GrowingLog().vkey}
    return Witness("witness.example", key("witness"), logs, memory, lambda: TIME + 0.9)


def ask(at: Witness, log: GrowingLog, old: int, proof: tuple[bytes, ...] | None = None) -> Reply:
    hashes = log.consistency(old, log.size) if proof is None else proof
    return at.add_checkpoint(AddCheckpoint(old, hashes, log.checkpoint()).encode())


def test_it_cosigns_what_grows(memory: Memory) -> None:
    at, log = witness(memory), GrowingLog("a", "b", "c")
    for old in (0, 3, 3):
        reply = ask(at, log, old)
        assert reply.status == 200
        (found,) = cosignatures(log.checkpoint() + reply.text, (KEY,))
        assert found.time == TIME
    log.grow(*map(str, range(300)))
    assert ask(at, log, 3).status == 200
    assert memory.newest(ANSWER_LOG).size == 303


def test_another_old_size_gets_the_known_one(memory: Memory) -> None:
    at, log = witness(memory), GrowingLog("a", "b", "c")
    assert ask(at, log, 0).status == 200
    log.grow("d")
    for old in (0, 1, 4):
        assert ask(at, log, old) == Reply(409, "3\n", SIZE_TYPE)


def test_a_smaller_tree_is_not_cosigned(memory: Memory) -> None:
    at = witness(memory)
    assert ask(at, GrowingLog("a", "b", "c"), 0).status == 200
    assert ask(at, GrowingLog("a", "b"), 0).status == 409
    assert ask(at, GrowingLog("a", "b"), 3, ()).status == 400
    assert memory.newest(ANSWER_LOG).size == 3


@pytest.mark.parametrize("leaves", [("a", "b", "X"), ("a", "X", "c", "d")])
def test_a_fork_is_not_cosigned(memory: Memory, leaves: tuple[str, ...]) -> None:
    at, log = witness(memory), GrowingLog("a", "b", "c")
    assert ask(at, log, 0).status == 200
    before = memory.newest(ANSWER_LOG)
    assert ask(at, GrowingLog(*leaves), 3).status == 422
    assert memory.newest(ANSWER_LOG) == before


def test_an_empty_tree_is_the_empty_tree(memory: Memory) -> None:
    at = witness(memory)
    assert ask(at, GrowingLog(), 0).status == 200
    forged = sign_checkpoint(Checkpoint(ANSWER_LOG, 0, bytes(32)), key("answer-log"))
    assert at.add_checkpoint(AddCheckpoint(0, (), forged).encode()).status == 422


def test_unknown_logs_and_keys(memory: Memory) -> None:
    at = witness(memory)
    assert ask(at, GrowingLog("a", origin="example.org/other"), 0).status == 404
    assert ask(at, GrowingLog("a", signer="mallory"), 0).status == 403
    assert memory.newest(ANSWER_LOG).size == 0


def test_what_is_cosigned_survives_a_restart(memory: Memory, tmp_path: Path) -> None:
    assert ask(witness(memory), GrowingLog("a", "b", "c"), 0).status == 200
    memory.close()
    again = Memory(tmp_path / "witness.db")
    assert ask(witness(again), GrowingLog("a", "X", "c"), 3).status == 422
    again.close()


def test_a_lost_memory_is_not_begun_again_unasked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Memory(tmp_path / "witness.db")


def test_two_processes_never_go_back(memory: Memory, tmp_path: Path) -> None:
    """One decided by what it read, and the other was faster."""
    other = Memory(tmp_path / "witness.db")
    other.keep(Checkpoint(ANSWER_LOG, 5, bytes(32)), "")
    with pytest.raises(sqlite3.IntegrityError):
        memory.keep(Checkpoint(ANSWER_LOG, 4, bytes(32)), "")
    other.close()


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
def test_other_requests_are_malformed(memory: Memory, body: bytes) -> None:
    assert witness(memory).add_checkpoint(body).status == 400
