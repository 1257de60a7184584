"""The secret behind a mark, its commitment, and the file in which its owner keeps it.

The key stays with the publisher: registry, gateway and engine see the commitment alone, which is
logged before the marked version is released.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical, digest, fields
from sealgate.trust.names import check_name

SECRET_BYTES = 32
_COMMITMENT = b"sealgate/watermark-commitment/v1\n"
_TYPE = "sealgate/watermark-key/v1"
_EXPOSING = stat.S_IRWXG | stat.S_IRWXO
_LARGEST_FILE = 4096


@dataclass(frozen=True, slots=True)
class WatermarkKey:
    """32 random bytes, and the model whose versions they mark."""

    model: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.model)
        if len(self.secret) != SECRET_BYTES:
            raise Refusal(Reason.DOCUMENT_MALFORMED, f"a watermark secret of {len(self.secret)}")

    @property
    def commitment(self) -> str:
        """SHA-256 over a domain, the model's name with its length, and the secret.

        It binds the key to the model, and tells nothing of a secret of 32 random bytes.
        """
        return digest.sha256(
            _COMMITMENT + bytes([len(self.model)]) + self.model.encode() + self.secret
        )


def save_watermark_key(path: Path, key: WatermarkKey) -> None:
    """Writes a new file that its owner alone can read.

    A key is never replaced, since its mark cannot be read without it. Raises: KEY_FILE_EXISTS,
    and OSError where the folder cannot be written.
    """
    document = canonical.encode({"type": _TYPE, "model": key.model, "secret": key.secret.hex()})
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Refusal(Reason.KEY_FILE_EXISTS, str(path)) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(document)
        file.flush()
        os.fsync(descriptor)


def load_watermark_key(path: Path) -> WatermarkKey:
    """Reads a key file.

    Raises: KEY_FILE_EXPOSED where group or others have any access, KEY_UNREADABLE where there is
    no such file, DOCUMENT_MALFORMED.
    """
    try:
        with path.open("rb") as file:
            # Of the open file, not of its name, which may point elsewhere by now.
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refusal(Reason.KEY_UNREADABLE, f"{path} is not a plain file")
            if status.st_mode & _EXPOSING:
                raise Refusal(Reason.KEY_FILE_EXPOSED, str(path))
            data = file.read(_LARGEST_FILE)
    except OSError as error:
        raise Refusal(Reason.KEY_UNREADABLE, f"{path}: {error.strerror}") from error
    document = fields.record(canonical.decode(data), ("model", "secret"), kind=_TYPE)
    return WatermarkKey(
        fields.text(document["model"]), fields.unhex(document["secret"], SECRET_BYTES)
    )
