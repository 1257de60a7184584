"""The tree of a log, held against what was signed of it and what is stored beside it."""

from collections.abc import Iterator

import pytest

from sealgate.audit.tree_check import Claim, StoredHashes, TreeCheck
from sealgate.reasons import Reason
from sealgate.trust.transparency.merkle import EMPTY_ROOT, leaf_hash, root
from sealgate.trust.transparency.tiles import Frontier
from tests.support.builders.documents.people import ANSWER_LOG, refused

COUNT = 700
LEAVES = [f"leaf {number}".encode() for number in range(COUNT)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]


def claim(size: int) -> Claim:
    return Claim(size, root(HASHES[:size]), f"the anchor of {size}")


def level_one() -> bytes:
    (tile,) = [t for t in Frontier.empty().append(HASHES).tiles if t.level == 1]
    return tile.hashes


def shown(level: int, count: int) -> Iterator[bytes]:
    assert (level, count) == (1, 2)
    return iter([level_one()])


def run(*claims: Claim, pruned: int = 0, block: int = 97) -> TreeCheck:
    """Add every entry in blocks that end nowhere in particular."""
    check = TreeCheck(ANSWER_LOG, claims)
    check.add_hashes(HASHES[:pruned])
    for at in range(pruned, COUNT, block):
        end = min(at + block, COUNT)
        check.add(LEAVES[at:end], b"".join(HASHES[at:end]))
    return check


@pytest.mark.parametrize("pruned", [0, 256, 512])
def test_every_claim_holds(pruned: int) -> None:
    sizes = (0, 1, 96, 97, 98, 255, 256, 257, 300, 699, 700)
    check = run(*map(claim, sizes), claim(300), pruned=pruned)
    assert check.size == COUNT
    assert check.finish(shown)


@pytest.mark.parametrize("size", [0, 1, 97, 256, 300, 700])
def test_a_claim_of_another_root(size: int) -> None:
    with refused(Reason.LOG_INCONSISTENT) as caught:
        run(claim(256), Claim(size, b"f" * 32, "the anchor in entry 9"))
    assert "the anchor in entry 9" in str(caught.value)


def test_a_claim_of_more_entries_than_there_are() -> None:
    check = run(claim(700), Claim(701, EMPTY_ROOT, "the anchor in entry 9"))
    with refused(Reason.LOG_INCONSISTENT) as caught:
        check.finish(shown)
    assert "700 entries, and the anchor in entry 9 says 701" in str(caught.value)


@pytest.mark.parametrize("stored", [b"", HASHES[0], HASHES[0] + b"x" * 32])
def test_a_stored_leaf_hash_that_is_another(stored: bytes) -> None:
    check = TreeCheck(ANSWER_LOG, ())
    with refused(Reason.LOG_INCONSISTENT):
        check.add(LEAVES[:2], stored)


def test_a_stored_hash_above_the_leaves_that_is_another() -> None:
    for stored in (b"", level_one()[:32], b"x" * 32 + level_one()[32:]):
        with refused(Reason.LOG_INCONSISTENT):
            run().finish(lambda level, count, stored=stored: iter([stored]))


def test_hashes_above_the_leaves_that_are_not_shown() -> None:
    assert not run().finish(lambda level, count: None)


def test_stored_hashes_are_taken_in_any_parts() -> None:
    stored = StoredHashes([b"".join(HASHES[:5]), b"".join(HASHES[5:256]), HASHES[256]])
    taken = [stored.take(count) for count in (1, 3, 200, 53, 7)]
    assert b"".join(taken) == b"".join(HASHES[:257])
    assert [len(part) // 32 for part in taken] == [1, 3, 200, 53, 0]
