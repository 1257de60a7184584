"""Opens the private key that a setting names: a PEM file or a key in a PKCS#11 token."""

import os
from collections.abc import Callable
from pathlib import Path

from sealgate.files import read_regular_file
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.keys import Signer, load_private_key, read_private_file
from sealgate.trust.keys.pkcs11_uri import KeyUri, is_key_uri
from sealgate.trust.transparency import RotatingSigner
from sealgate.trust.transparency.ml_dsa import MlDsaKey, PairedSigner

Ask = Callable[[str], str]
"""Asks a person for the passphrase or the PIN of what is named."""

PASSPHRASE_VARIABLE = "SEALGATE_PASSPHRASE_FILE"  # noqa: S105
"""Names a private file with the passphrase of encrypted keys, where nobody is to be asked."""


def named_key(place: Path | str | None, setting: str = "signing_key") -> Path | str:
    """The key that a `setting` of a profile names. Raises SealgateError(KEY_UNREADABLE)."""
    if place is None:
        raise SealgateError(
            Reason.KEY_UNREADABLE,
            f"this person's profile names no {setting}: --as names another person",
        )
    return place


def open_signer(place: Path | str, ask: Ask | None = None) -> Signer:
    """Return the key at `place`, a file or a `pkcs11:` URI (RFC 7512).

    `ask` is for an encrypted file, unless PASSPHRASE_VARIABLE names a file with its passphrase, and
    for a token whose URI names no file with its PIN. Raises SealgateError: KEY_UNREADABLE,
    KEY_FILE_EXPOSED, and as `PrivateKey.from_pem` does.
    """
    if not is_key_uri(place):
        path = Path(place)
        return load_private_key(path, passphrase_of(path, ask))
    try:
        # Only the extra `pkcs11` brings what this needs.
        from sealgate.trust.keys.pkcs11_key import TokenKey
    except ImportError as error:
        detail = "python-pkcs11 is not installed: pip install 'sealgate[pkcs11]'"
        raise SealgateError(Reason.KEY_UNREADABLE, detail) from error
    return TokenKey.open(KeyUri.parse(str(place)), ask)


NEXT = ".next.key"
"""How the file ends whose key follows the one in a file: `answers.next.key` for `answers.key`."""


def next_place(place: Path | str) -> Path | None:
    """Where the key is that follows the one in a file; None for a key in a token."""
    return None if is_key_uri(place) else Path(place).with_suffix(NEXT)


def open_log_signer(
    place: Path | str, beside: Path | None = None, following: Path | str | None = None
) -> Signer:
    """Return the key at `place`, of a log or of freshness, with the one that follows it: the one at
    `following`, or else the file beside `place`, where that is there. With each signs the ML-DSA-44
    key in the file `beside`, if any.
    """
    signer: Signer = open_signer(place)
    if following is None and (file := next_place(place)) is not None and file.exists():
        following = file
    successor = open_signer(following) if following is not None else None
    if beside is not None:
        second = MlDsaKey.from_pem(read_private_file(beside))
        signer = PairedSigner(signer, second)
        successor = PairedSigner(successor, second) if successor is not None else None
    return signer if successor is None else RotatingSigner(signer, successor)


def read_passphrase(path: Path) -> bytes:
    """The passphrase in a file, whose last line may end.

    Raises SealgateError: KEY_FILE_EXPOSED where others can read it, KEY_UNREADABLE where there is
    none.
    """
    passphrase = read_private_file(path).rstrip(b"\r\n")
    if not passphrase:
        raise SealgateError(Reason.KEY_UNREADABLE, f"{path} holds no passphrase")
    return passphrase


def passphrase_of(path: Path, ask: Ask | None) -> bytes | None:
    """Return the passphrase of an encrypted file: from a file, or asked for. None where the file is
    not encrypted.
    """
    try:
        encrypted = b"ENCRYPTED" in read_regular_file(path)
    except OSError:
        # `load_private_key` says what is wrong.
        return None
    if not encrypted:
        return None
    if place := os.environ.get(PASSPHRASE_VARIABLE):
        return read_passphrase(Path(place))
    return ask(str(path)).encode() if ask is not None else None
