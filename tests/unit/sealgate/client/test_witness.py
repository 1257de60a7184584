"""The state of a witness, in memory and on disk."""

import pytest

from sealgate.client.consistency import (
    ClientMemory,
    ClientMemoryFile,
    ConsistencyChecker,
    SeenCheckpoint,
)
from sealgate.reasons import Reason
from sealgate.remote.errors import LogFork
from sealgate.trust.transparency import TlogProof, note, open_checkpoint
from sealgate.v1.log_pb2 import GetConsistencyProofRequest
from tests.support.builders.documents.people import ANSWER_LOG, NOW, key, refused
from tests.support.fakes.gateway import FakeGateway

VKEY = note.vkey(ANSWER_LOG, key("answer-log").public)


@pytest.fixture
def log() -> FakeGateway:
    return FakeGateway(lambda: NOW)


def grown(log: FakeGateway, count: int) -> SeenCheckpoint:
    log.others(count)
    return SeenCheckpoint(open_checkpoint(log.note(), VKEY), log.note())


def proof(log: FakeGateway, gap) -> list[bytes]:
    request = GetConsistencyProofRequest(
        origin=ANSWER_LOG, old_size=gap.old.size, new_size=gap.new.size
    )
    return list(log.GetConsistencyProof(request).hashes)


def test_checkpoints_that_overtake_one_another_are_all_held_together(log):
    """Of two proofs from the same head, the second says nothing of the first: it is asked anew."""
    first, second, third = grown(log, 3), grown(log, 2), grown(log, 4)
    witness = ConsistencyChecker()
    assert witness.gap(first) is None
    early, late = witness.gap(second), witness.gap(third)
    assert witness.close(third, late, proof(log, late))
    assert not witness.close(second, early, proof(log, early))
    again = witness.gap(second)
    assert (again.old.size, again.new.size) == (5, 9)
    assert witness.close(second, again, proof(log, again))
    assert witness.sizes() == {ANSWER_LOG: 9}


def test_a_fork_between_two_overtaking_checkpoints_is_found(log):
    other = FakeGateway(lambda: NOW)
    witness = ConsistencyChecker()
    assert witness.gap(grown(log, 3)) is None
    other.others(3)
    left = grown(log, 2)
    other.leaves.append(b"something else")
    right = grown(other, 4)
    gaps = witness.gap(left), witness.gap(right)
    assert witness.close(left, gaps[0], proof(log, gaps[0]))
    assert not witness.close(right, gaps[1], proof(other, gaps[1]))
    gap = witness.gap(right)
    with pytest.raises(LogFork) as caught:
        witness.close(right, gap, proof(other, gap))
    assert caught.value.notes == (left.note, right.note)


def test_claimed_entries_are_remembered_within_bounds(log, monkeypatch):
    monkeypatch.setattr("sealgate.client.consistency.REMEMBERED", 8)
    witness = ConsistencyChecker()
    checkpoint, signed = grown(log, 1).checkpoint, log.note()
    for index in range(100):
        seen = SeenCheckpoint(checkpoint, signed, TlogProof(index, (), signed))
        assert witness.take(seen, {})
        assert not witness.take(seen, {})
        assert not witness.take(seen, {ANSWER_LOG: index + 1})
    assert len(witness.taken[ANSWER_LOG]) <= 8


def test_two_roots_of_one_size_are_a_fork(log):
    witness = ConsistencyChecker()
    seen = grown(log, 3)
    assert witness.gap(seen) is None
    assert witness.gap(seen) is None
    log.leaves[0] = b"something else"
    with refused(Reason.LOG_INCONSISTENT):
        witness.gap(grown(log, 0))


def test_the_file_reads_back_and_never_goes_back(log, tmp_path):
    path = tmp_path / "witness.json"
    small, large = grown(log, 3), grown(log, 2)
    ClientMemoryFile(path).save(ClientMemory(2, {ANSWER_LOG: large.note}))
    ClientMemoryFile(path).save(ClientMemory(1, {ANSWER_LOG: small.note}))
    kept = ClientMemoryFile(path).load()
    assert (kept.policy_version, kept.notes) == (2, {ANSWER_LOG: large.note})
    assert ClientMemory.decode(path.read_bytes()) == kept
    assert [item.name for item in tmp_path.iterdir()] == ["witness.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"logs":{},"policy_version":-1,"type":"sealgate/witness/v1"}',
        b'{"logs":{"a":"b"},"policy_version":1,"type":"sealgate/witness/v1"}',
        b'{"logs":{"a":1},"policy_version":1,"type":"sealgate/witness/v1"}',
    ],
)
def test_a_file_that_is_not_a_witness_is_refused_and_not_overwritten(tmp_path, content):
    path = tmp_path / "witness.json"
    path.write_bytes(content)
    with refused(Reason.DOCUMENT_MALFORMED):
        ConsistencyChecker(ClientMemoryFile(path))
    assert path.read_bytes() == content


def test_a_note_under_another_logs_name_is_refused(log):
    with refused(Reason.DOCUMENT_MALFORMED):
        ClientMemory(1, {"example.org/other": grown(log, 1).note})
