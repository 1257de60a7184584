"""Masks that keep a client's vector from whoever adds up, with 256 bits of secret.

Flower's own masks (flwr 1.42, `pseudo_rand_gen`) are drawn by a Mersenne Twister whose seed folds
44 characters of base64 into at most 28 bits that vary, which a server can try out. So each pair of
a group adds and subtracts a second mask, drawn by ChaCha20 from the keys that SecAgg+ exchanged
anyway. It cancels out in the sum of the whole group and nowhere else: a group is summed whole or
not at all.
"""

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from sealgate.reasons import Reason, Refusal
from training.federated.recipe import MODULUS

_LABEL = b"sealgate/federated/mask/v1"
Integers = npt.NDArray[np.int64]


def mask(vectors: list[Integers], own: int, key: bytes, others: dict[int, bytes]) -> list[Integers]:
    """The vectors (integers modulo 2^32) under a mask for each pair.

    `own` is this client's number, `key` its private key (PEM) and `others` the public keys of the
    group's other clients (PEM) by number. The two of a pair draw the same mask; the one of the
    larger number adds it, the other subtracts it.
    """
    private = load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise Refusal(Reason.DOCUMENT_MALFORMED, "not an elliptic curve's key")
    total = [vector.astype(np.int64) for vector in vectors]
    for number, pem in sorted(others.items()):
        public = load_pem_public_key(pem)
        if not isinstance(public, ec.EllipticCurvePublicKey):
            raise Refusal(Reason.DOCUMENT_MALFORMED, "not an elliptic curve's key")
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
