import hashlib

import pytest

from sealgate.reasons import Reason
from sealgate.trust.transparency import merkle
from sealgate.trust.transparency.merkle import EMPTY_ROOT, verify_consistency
from sealgate.trust.transparency.tiles import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    partial_width,
    tile_path,
    tree_root,
)
from tests.support.builders.documents.people import refused
from tests.support.fakes.tile_store import TileStore

SIZES = (1, 2, 3, 4, 5, 7, 8, 13, 31, 32, 33)


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"entry %d" % n) for n in range(count)]


def slow_root(hashes: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    left, right = slow_root(hashes[:split]), slow_root(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def stored(count: int, step: int = 7) -> tuple[TileStore, Frontier]:
    """A tree that grew by `step` leaves at a time."""
    store, frontier, hashes = TileStore(), Frontier.empty(), leaves(count)
    for start in range(0, count, step):
        frontier = frontier.append(hashes[start : start + step])
        store.put(frontier.tiles)
    return store, frontier


def test_roots() -> None:
    for size in (0, *SIZES):
        assert merkle.root(leaves(size)) == slow_root(leaves(size))


@pytest.mark.parametrize("size", SIZES)
def test_every_inclusion_proof_holds_and_no_altered_one(size: int) -> None:
    hashes, (store, frontier) = leaves(size), stored(size)
    for index in range(size):
        proof = inclusion_proof(store, index, size)
        merkle.verify_inclusion(hashes[index], index, size, proof, frontier.root)
        extra = [*proof, bytes(32)]
        forgeries = [
            (hashes[index], index, size, extra, frontier.root),
            (hashes[index], index, size, proof, bytes(32)),
            (bytes(32), index, size, proof, frontier.root),
            (hashes[index], index + 1, size, proof, frontier.root),
            (hashes[index], -1, size, proof, frontier.root),
            (hashes[index], index, 0, proof, frontier.root),
        ]
        if proof:
            forgeries += [
                (hashes[index], index, size, proof[1:], frontier.root),
                (hashes[index], index, size, proof[:-1], frontier.root),
                (hashes[index], index, size, [bytes(32), *proof[1:]], frontier.root),
                (hashes[index], index, size, [proof[0][:31], *proof[1:]], frontier.root),
            ]
        for forgery in forgeries:
            with refused(Reason.PROOF_INVALID):
                merkle.verify_inclusion(*forgery)


@pytest.mark.parametrize("size", SIZES)
def test_every_consistency_proof_holds_and_no_altered_one(size: int) -> None:
    hashes, (store, frontier) = leaves(size), stored(size)
    for old in range(size + 1):
        old_root = merkle.root(hashes[:old])
        proof = consistency_proof(store, old, size)
        merkle.verify_consistency(old, old_root, size, frontier.root, proof)
        forgeries = [
            (old, old_root, size, frontier.root, [*proof, bytes(32)]),
            (old, bytes(32), size, frontier.root, proof),
            (size + 1, old_root, size, frontier.root, proof),
            (-1, old_root, size, frontier.root, proof),
        ]
        if proof:
            forgeries += [
                (old, old_root, size, frontier.root, proof[:-1]),
                (old, old_root, size, frontier.root, proof[1:]),
                (old, old_root, size, frontier.root, []),
                (old, old_root, size, frontier.root, [bytes(32), *proof[1:]]),
                (old, old_root, size, frontier.root, [proof[0][:31], *proof[1:]]),
                (old, old_root, size, bytes(32), proof),
            ]
        for forgery in forgeries:
            with refused(Reason.PROOF_INVALID):
                merkle.verify_consistency(*forgery)


def test_a_fork_has_no_consistency_proof() -> None:
    """An old tree that differs in its last entry alone is not an earlier state."""
    hashes, (store, frontier) = leaves(12), stored(12)
    for old in range(1, 12):
        forked = merkle.root([*hashes[: old - 1], merkle.leaf_hash(b"other")])
        with refused(Reason.PROOF_INVALID):
            merkle.verify_consistency(
                old, forked, 12, frontier.root, consistency_proof(store, old, 12)
            )


@pytest.mark.parametrize("step", [1, 3, 64, 255, 256, 257, 1000])
def test_a_frontier_grows_as_the_tree_does(step: int) -> None:
    store, frontier, hashes = TileStore(), Frontier.empty(), leaves(1100)
    for start in range(0, 1100, step):
        frontier = frontier.append(hashes[start : start + step])
        store.put(frontier.tiles)
        if start < 600 and step < 64 and start % 50:
            continue
        size = frontier.size
        assert frontier.root == merkle.root(hashes[:size]) == tree_root(store, size)
        for index in {start, (start + size) // 2, size - 1}:
            proof = frontier.inclusion_proof(index)
            assert proof == inclusion_proof(store, index, size)
            merkle.verify_inclusion(hashes[index], index, size, proof, frontier.root)
        assert Frontier.load(store, size).root == frontier.root
    assert store.tiles.keys() == {(0, n) for n in range(5)} | {(1, 0)}
    assert len(store.tiles[1, 0]) == 4 * 32


def test_a_tree_of_two_full_levels() -> None:
    hashes = leaves(65537 + 256)
    store = TileStore()
    before = Frontier.empty().append(hashes[:65530])
    store.put(before.tiles)
    after = before.append(hashes[65530:])
    store.put(after.tiles)
    size = len(hashes)
    assert {(t.level, t.index, t.width) for t in after.tiles} == {
        (0, 255, 256),
        (0, 256, 256),
        (0, 257, 1),
        (1, 0, 256),
        (1, 1, 1),
        (2, 0, 1),
    }
    assert after.root == merkle.root(hashes) == tree_root(store, size)
    for index in (0, 65529, 65536, size - 1):
        proof = inclusion_proof(store, index, size)
        merkle.verify_inclusion(hashes[index], index, size, proof, after.root)
    proof = consistency_proof(store, 65530, size)
    merkle.verify_consistency(65530, before.root, size, after.root, proof)
    loaded = Frontier.load(store, size).append([bytes(32)] * 300)
    assert loaded.root == after.append([bytes(32)] * 300).root


def test_appending_leaves_the_earlier_frontier_as_it_was() -> None:
    _, frontier = stored(300)
    root = frontier.root
    one, other = frontier.append(leaves(5)), frontier.append(leaves(9))
    assert (frontier.size, frontier.root) == (300, root)
    assert one.size == 305
    assert other.root == merkle.root(leaves(300) + leaves(9))
    assert frontier.append([]).root == root
    assert frontier.append([]).tiles == ()


def test_the_empty_tree() -> None:
    assert Frontier.empty().root == tree_root(TileStore(), 0) == merkle.EMPTY_ROOT
    assert Frontier.load(TileStore(), 0).append(leaves(3)).root == merkle.root(leaves(3))


def test_what_is_not_in_the_tree_has_no_proof() -> None:
    store, frontier = stored(20)
    for index in (-1, 20):
        with refused(Reason.ENTRY_UNKNOWN):
            inclusion_proof(store, index, 20)
        with refused(Reason.ENTRY_UNKNOWN):
            frontier.inclusion_proof(index)
    with refused(Reason.ENTRY_UNKNOWN):
        frontier.inclusion_proof(3)
    with refused(Reason.ENTRY_UNKNOWN):
        Frontier.empty().inclusion_proof(0)
    for old, new in ((5, 4), (-1, 4)):
        with refused(Reason.ENTRY_UNKNOWN):
            consistency_proof(store, old, new)


def test_a_short_tile_is_noticed() -> None:
    store, _ = stored(20)
    store.tiles[0, 0] = store.tiles[0, 0][:-1]
    with refused(Reason.LOG_INCONSISTENT):
        inclusion_proof(store, 0, 20)
    with refused(Reason.LOG_INCONSISTENT):
        Frontier.load(store, 20)


def test_where_tiles_are_published() -> None:
    assert tile_path(0, 1234067, 256) == "tile/0/x001/x234/067"
    assert tile_path(1, 5, 7) == "tile/1/005.p/7"
    assert tile_path(0, 1000, 256) == "tile/0/x001/000"
    assert [partial_width(level, 70000) for level in range(4)] == [112, 17, 1, 0]
    _, frontier = stored(3)
    assert frontier.tiles[0].path == "tile/0/000.p/3"


@pytest.mark.parametrize("size", SIZES)
def test_an_inclusion_proof_tells_the_root_of_what_came_before(size: int) -> None:
    store, _ = stored(size)
    for index in range(size):
        proof = inclusion_proof(store, index, size)
        assert merkle.root_before(index, size, proof) == slow_root(leaves(size)[:index])


def test_a_proof_between_empty_trees_needs_the_empty_root() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    with refused(Reason.PROOF_INVALID):
        verify_consistency(0, EMPTY_ROOT, 0, bytes(32), [])
    with refused(Reason.PROOF_INVALID):
        verify_consistency(0, bytes(32), 0, bytes(32), [])
