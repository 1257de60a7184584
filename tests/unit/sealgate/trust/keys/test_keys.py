import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448

from sealgate.reasons import Reason
from sealgate.trust.keys import (
    ECDSA_P256,
    ED25519,
    PrivateKey,
    PublicKey,
    load_private_key,
    save_private_key,
)
from tests.support.builders.documents.people import key, p256_key, refused

BOTH = pytest.mark.parametrize("signer", [key("a"), p256_key("a")], ids=["ed25519", "p256"])


@BOTH
def test_a_signature_verifies_and_a_forged_one_does_not(signer: PrivateKey) -> None:
    signature = signer.sign(b"message")
    signer.public.verify(signature, b"message")
    for forged, message in [
        (signature, b"massage"),
        (signature[:-1], b"message"),
        (b"", b"message"),
        (signature[:-1] + bytes([signature[-1] ^ 1]), b"message"),
    ]:
        with refused(Reason.SIGNATURE_INVALID):
            signer.public.verify(forged, message)


@BOTH
def test_keys_read_back(signer: PrivateKey) -> None:
    public = PublicKey.from_pem(signer.public.pem)
    assert public == signer.public
    assert public.keyid == signer.public.keyid
    assert hash(public) == hash(signer.public)
    assert PrivateKey.from_pem(signer.to_pem()).public == public
    assert PrivateKey.from_pem(signer.to_pem(b"secret"), b"secret").public == public


def test_generated_keys_have_their_scheme() -> None:
    for scheme in (ED25519, ECDSA_P256):
        assert PrivateKey.generate(scheme).public.scheme == scheme
    with pytest.raises(ValueError, match="rsa"):
        PrivateKey.generate("rsa")


def test_only_ed25519_has_a_raw_form() -> None:
    assert PublicKey.from_raw(key("a").public.raw) == key("a").public
    with pytest.raises(ValueError, match="raw"):
        _ = p256_key("a").public.raw
    with refused(Reason.DOCUMENT_MALFORMED):
        PublicKey.from_raw(b"short")


def test_another_spelling_of_a_public_key_is_refused() -> None:
    pem = key("a").public.pem
    for text in (pem + "\n", pem.replace("\n", "\r\n"), "text before\n" + pem, pem[:-30], "é"):
        with refused(Reason.DOCUMENT_MALFORMED):
            PublicKey.from_pem(text)


@pytest.mark.parametrize(
    "other",
    [ec.derive_private_key(7, ec.SECP384R1()), ed448.Ed448PrivateKey.from_private_bytes(b"7" * 57)],
)
def test_another_kind_of_key_is_refused(
    other: ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey,
) -> None:
    public = other.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    private = other.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with refused(Reason.DOCUMENT_MALFORMED):
        PublicKey.from_pem(public.decode())
    with refused(Reason.DOCUMENT_MALFORMED):
        PrivateKey.from_pem(private)


def test_a_private_key_needs_its_passphrase() -> None:
    pem = key("a").to_pem(b"secret")
    for passphrase in (None, b"wrong"):
        with refused(Reason.KEY_UNREADABLE):
            PrivateKey.from_pem(pem, passphrase)
    with refused(Reason.KEY_UNREADABLE):
        PrivateKey.from_pem(b"nothing")
    with refused(Reason.KEY_UNREADABLE):
        PrivateKey.from_pem(key("a").to_pem(), b"needless")


def test_a_saved_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    save_private_key(path, key("a"), b"secret")
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_private_key(path, b"secret").public == key("a").public
    with refused(Reason.KEY_FILE_EXISTS):
        save_private_key(path, key("b"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_an_exposed_key_file_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a.key"
    save_private_key(path, key("a"))
    path.chmod(mode)
    with refused(Reason.KEY_FILE_EXPOSED):
        load_private_key(path)


def test_what_is_not_a_key_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with refused(Reason.KEY_UNREADABLE):
            load_private_key(path)
    empty = tmp_path / "empty"
    os.close(os.open(empty, os.O_CREAT | os.O_WRONLY, 0o600))
    with refused(Reason.KEY_UNREADABLE):
        load_private_key(empty)
