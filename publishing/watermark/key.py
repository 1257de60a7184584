"""The secret behind a mark, its commitment, and the file in which its owner keeps it.

The key stays with the publisher: registry, gateway and engine see the commitment alone, which is
logged before the marked version is released.
"""

from dataclasses import dataclass, field
from pathlib import Path

from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical, digest, fields
from sealgate.trust.keys import read_private_file, write_private_file
from sealgate.trust.names import check_name

SECRET_BYTES = 32
_COMMITMENT = b"sealgate/watermark-commitment/v1\n"
_TYPE = "sealgate/watermark-key/v1"


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
    document = {"type": _TYPE, "model": key.model, "secret": key.secret.hex()}
    write_private_file(path, canonical.encode(document))


def load_watermark_key(path: Path) -> WatermarkKey:
    """Reads a key file. Raises: KEY_FILE_EXPOSED, KEY_UNREADABLE, DOCUMENT_MALFORMED."""
    names = ("model", "secret")
    document = fields.record(canonical.decode(read_private_file(path)), names, kind=_TYPE)
    return WatermarkKey(
        fields.text(document["model"]), fields.unhex(document["secret"], SECRET_BYTES)
    )
