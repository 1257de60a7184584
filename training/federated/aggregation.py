"""Secure aggregation: random groups of clients, pairwise masks, and robust rules over groups.

Masks hide a client's vector from whoever adds up, with 256 bits of secret. Flower's own masks (flwr
1.42, `pseudo_rand_gen`) are drawn by a Mersenne Twister whose seed folds 44 characters of base64
into at most 28 varying bits, which a server can try out. So each pair of a group adds and subtracts
a second mask, drawn by ChaCha20 from the keys that SecAgg+ exchanges anyway. It cancels out only in
the sum of the whole group.

A secure sum hides a poisoned update among honest ones, so poisoned updates cannot be removed inside
a group. Rules over groups can, while fewer than half of the groups hold a poisoner:

    median, trimmed-mean   per coordinate, so the result lies between what honest groups say
                           (Yin et al., arXiv 1803.01498)
    closest                the mean of all groups but `trim` that are closest to each other (minimum
                           diameter averaging, El Mhamdi et al., arXiv 1802.07927)
    lowest-loss            the mean of those groups, all but at most `trim`, that moves the weights
                           to the lowest loss on rows of the server's own (after Zeno, Xie et al.,
                           arXiv 1805.10032)

If clients have different classes, honest means differ in most coordinates, and a poisoner moves a
median of three by that much; the closest groups are whole means of honest ones. A poisoned group
may lie as close as honest ones do; what it does to the loss tells more.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sealgate.reasons import Reason, SealgateError
from training.recipe.federated import (
    CLOSEST,
    LOWEST,
    MEDIAN,
    MODULUS,
    TRIMMED,
)

_LABEL = b"sealgate/federated/mask/v1"
Integers = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]


def mask(vectors: list[Integers], own: int, key: bytes, others: dict[int, bytes]) -> list[Integers]:
    """The vectors (integers modulo 2^32) under a mask for each pair.

    `own` is this client's number, `key` its private key (PEM) and `others` the public keys of the
    group's other clients (PEM) by number. The two of a pair draw the same mask; the one of the
    larger number adds it, the other subtracts it.
    """
    private = load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise SealgateError(Reason.DOCUMENT_MALFORMED, "not an elliptic curve's key")
    total = [vector.astype(np.int64) for vector in vectors]
    for number, pem in sorted(others.items()):
        public = load_pem_public_key(pem)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise SealgateError(Reason.DOCUMENT_MALFORMED, "not an elliptic curve's key")
        stream = _stream(private.exchange(ec.ECDH(), public), sum(v.size for v in total))
        sign, at = (1 if own > number else -1), 0
        for vector in total:
            vector += sign * stream[at : at + vector.size].reshape(vector.shape)
            at += vector.size
    return [vector % MODULUS for vector in total]


def _stream(secret: bytes, size: int) -> Integers:
    """`size` integers in [0, 2^32), of a key that is used for them alone."""
    key = HKDF(hashes.SHA256(), 32, None, _LABEL).derive(secret)
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor()
    return np.frombuffer(cipher.update(bytes(4 * size)), "<u4").astype(np.int64)


def draw_groups(
    clients: Sequence[int], size: int, draws: random.Random
) -> tuple[tuple[int, ...], ...]:
    """All clients in groups of `size` or more, as even as can be, each client in one."""
    order = draws.sample(clients, len(clients))
    count = len(order) // size
    return tuple(tuple(order[at::count]) for at in range(count))


def join(
    rule: str,
    means: Sequence[npt.NDArray[np.floating]],
    trim: int = 1,
    loss: Callable[[Vector], float] = lambda _: 0.0,
) -> Vector:
    """From each group's mean [n] to what moves the weights [n], coordinate by coordinate.

    `rule` is one of `training.recipe.federated.RULES`; the plain mean keeps no poisoner away.
    `loss` tells, for `lowest-loss`, what the weights come to after a move [n].
    """
    stack = np.stack([np.asarray(mean, np.float64) for mean in means])
    if rule == MEDIAN:
        return np.median(stack, axis=0)
    if rule == LOWEST:
        moves = (stack[each].mean(axis=0) for each in _sets(len(stack), trim))
        return min(moves, key=loss)
    if rule == CLOSEST:
        stack = stack[_closest(stack, len(stack) - trim)]
    if rule == TRIMMED:
        stack = np.sort(stack, axis=0)[trim : len(stack) - trim]
    joined: Vector = stack.mean(axis=0)
    return joined


def _sets(size: int, trim: int) -> Iterator[list[int]]:
    """Every set of `size` places without `trim` of them or fewer."""
    for count in range(size, size - trim - 1, -1):
        yield from map(list, itertools.combinations(range(size), count))


def _closest(stack: Vector, count: int) -> list[int]:
    """The places of the `count` rows whose largest distance to one another is least."""
    apart = np.stack([np.linalg.norm(stack - row, axis=1) for row in stack])
    sets = (list(each) for each in itertools.combinations(range(len(stack)), count))
    return min(sets, key=lambda each: float(apart[np.ix_(each, each)].max()))
