"""Signing keys: Ed25519 and ECDSA P-256, in PEM files or in a PKCS#11 token, and certificates."""

from sealgate.trust.keys.signing import (
    ECDSA_P256,
    ED25519,
    PrivateKey,
    PublicKey,
    Signer,
    VerificationKey,
    load_private_key,
    load_public_key,
    read_private_file,
    save_private_key,
    write_private_file,
)

__all__ = [
    "ECDSA_P256",
    "ED25519",
    "PrivateKey",
    "PublicKey",
    "Signer",
    "VerificationKey",
    "load_private_key",
    "load_public_key",
    "read_private_file",
    "save_private_key",
    "write_private_file",
]
