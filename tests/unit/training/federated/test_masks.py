"""Masks cancel out in the whole group's sum, and in no part of it."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from sealgate.reasons import Reason, SealgateError
from training.federated.aggregation import mask
from training.recipe.federated import MODULUS

PRIVATE = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
KEYS = {number: ec.generate_private_key(ec.SECP384R1()) for number in (7, 1 << 62, 31)}
VECTORS = {
    number: [np.arange(6).reshape(2, 3) + at, np.array([MODULUS - 1 - at])]
    for at, number in enumerate(KEYS)
}


def masked(number: int) -> list[np.ndarray]:
    others = {n: key.public_key().public_bytes(*PUBLIC) for n, key in KEYS.items() if n != number}
    return mask(VECTORS[number], number, KEYS[number].private_bytes(*PRIVATE), others)


def total(vectors: list[list[np.ndarray]]) -> list[np.ndarray]:
    return [sum(parts) % MODULUS for parts in zip(*vectors, strict=True)]


def test_the_sum_of_all_is_that_of_the_bare_vectors() -> None:
    bare = total(list(VECTORS.values()))
    assert all(
        np.array_equal(a, b) for a, b in zip(total(list(map(masked, KEYS))), bare, strict=True)
    )


def test_no_part_of_it_is() -> None:
    numbers = list(KEYS)
    for part in (numbers[:1], numbers[:2], numbers[1:]):
        bare, under = total([VECTORS[n] for n in part]), total([masked(n) for n in part])
        assert not any(np.isin(a, b).any() for a, b in zip(under, bare, strict=True))


def test_masks_spread_over_the_whole_range() -> None:
    number, *_ = KEYS
    others = {n: key.public_key().public_bytes(*PUBLIC) for n, key in KEYS.items() if n != number}
    key = KEYS[number].private_bytes(*PRIVATE)
    (wide,) = mask([np.zeros(1 << 16, np.int64)], number, key, others)
    assert wide.min() >= 0
    assert wide.max() < MODULUS
    # Sixteen even parts of the range hold 4,096 each, give or take.
    assert np.abs(np.histogram(wide, 16, (0, MODULUS))[0] - 4096).max() < 400


def test_other_keys_are_refused() -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    key = KEYS[7].private_bytes(*PRIVATE)
    for own, theirs in (
        (other.private_bytes(*PRIVATE), KEYS[31].public_key().public_bytes(*PUBLIC)),
        (key, other.public_key().public_bytes(*PUBLIC)),
    ):
        with pytest.raises(SealgateError) as refused:
            mask(VECTORS[7], 7, own, {31: theirs})
        assert refused.value.reason is Reason.DOCUMENT_MALFORMED
