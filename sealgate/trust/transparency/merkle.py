"""Merkle trees of RFC 6962 and RFC 9162: hashes, and verification of proofs.

Hashes are 32 bytes. A tree is given by its leaf hashes; the empty tree's root is SHA-256 of
nothing.
"""

import hashlib
from collections.abc import Sequence

from sealgate.reasons import Reason, SealgateError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of an entry (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """Return the root of the tree over these leaf hashes."""
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        # The last of an odd number has no sibling and moves up as it is.
        last = level[-1:] if len(level) % 2 else []
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [node_hash(left, right) for left, right in pairs] + last
    return level[0]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes
) -> None:
    """Check that the leaf hash `leaf` is at `index` of the tree of `size` under `root_hash`.

    RFC 9162, 2.1.3.2. Raises SealgateError(PROOF_INVALID).
    """
    if inclusion_root(leaf, index, size, proof) != root_hash:
        raise _invalid("the proof leads to another root")


def inclusion_root(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root to which the proof leads. Raises SealgateError(PROOF_INVALID)."""
    if not 0 <= index < size:
        raise _invalid("the index is not in the tree")
    _check_hashes(proof)
    node, last = index, size - 1
    result = leaf
    for sibling in proof:
        if last == 0:
            raise _invalid("the proof is too long")
        if node % 2 or node == last:
            result = node_hash(sibling, result)
            node, last = _skip_lone(node, last)
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise _invalid("the proof is too short")
    return result


def root_before(index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root over the leaves before `index`, from the leaf's inclusion proof.

    The proof's left siblings are the complete subtrees of those leaves. So an inclusion proof
    that holds also shows that the tree of `size` extends the tree of `index` with this root.
    """
    node, last = index, size - 1
    result = None
    for sibling in proof:
        if node % 2 or node == last:
            result = sibling if result is None else node_hash(sibling, result)
            node, last = _skip_lone(node, last)
        node, last = node >> 1, last >> 1
    return EMPTY_ROOT if result is None else result


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of `new_size` only adds to the tree of `old_size`.

    RFC 9162, 2.1.4.2; of the empty tree and of a tree with itself the proof is empty. Raises
    SealgateError(PROOF_INVALID).
    """
    if not 0 <= old_size <= new_size:
        raise _invalid("the sizes are out of order")
    _check_hashes(proof)
    if old_size == 0 or old_size == new_size:
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected or (old_size == new_size and old_root != new_root):
            raise _invalid("a trivial proof that does not hold")
        return
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not path:
        raise _invalid("the proof is too short")
    node, last = old_size - 1, new_size - 1
    while node % 2:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _invalid("the proof is too long")
        if node % 2 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            node, last = _skip_lone(node, last)
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0 or old != old_root or new != new_root:
        raise _invalid("the proof leads to other roots")


def _skip_lone(node: int, last: int) -> tuple[int, int]:
    # A last node without a sibling moves up unchanged until it is a right child.
    while node and not node % 2:
        node, last = node >> 1, last >> 1
    return node, last


def _check_hashes(proof: Sequence[bytes]) -> None:
    if any(len(item) != HASH_SIZE for item in proof):
        raise _invalid("a hash of a proof has not 32 bytes")


def _invalid(detail: str) -> SealgateError:
    return SealgateError(Reason.PROOF_INVALID, detail)
