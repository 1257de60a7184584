"""The watermark key of a model, its file, and the commitment of each mark.

One key serves all versions of a model; a mark is the key with a payload of its own. Both stay with
the publisher. Registry, gateway and engine see only commitments, which are logged before the marked
weights are made.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from publishing.watermark import coding as payloads
from publishing.watermark.coding import Signs, chips, offsets
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.keys import read_private_file, write_private_file

SECRET_BYTES = 32
_COMMITMENT = b"sealgate/watermark-commitment/v2\n"
_PRESENCE = b"sealgate/watermark-presence/v1\n"
_RECIPIENT = b"sealgate/watermark-recipient/v1\n"
_KEY = "sealgate/watermark-key/v1"


@dataclass(frozen=True, slots=True)
class WatermarkCode:
    """The signs that one mark adds to weights: chips under a secret, times the payload's bits where
    there is one.
    """

    model: str
    secret: bytes = field(repr=False)
    payload: bytes | None = None

    @property
    def bits(self) -> int:
        """How many bits the payload has as it is written, 0 without one."""
        return payloads.PAYLOAD_BITS if self.payload is not None else 0

    def signs(self, shape: tuple[int, ...], ordinal: int) -> Signs:
        """+1 or -1 for each weight of the `ordinal`-th matrix of that shape."""
        signs = chips(self.secret, self.model, shape, ordinal)
        if self.payload is None:
            return signs
        rows = signs.reshape(shape[0], -1)
        rows *= rolled(payloads.codeword(self.payload), rows.shape[1])[self.starts(shape, ordinal)]
        return signs

    def starts(self, shape: tuple[int, ...], ordinal: int) -> npt.NDArray[np.int64]:
        """The bit of the payload that each row [shape[0]] begins with."""
        return offsets(self.secret, self.model, shape, ordinal, payloads.PAYLOAD_BITS)


def rolled(word: npt.NDArray[Any], columns: int) -> npt.NDArray[Any]:
    """The word [bits] over and over, from each of its places on: [bits, columns]."""
    places = np.arange(columns)[None, :] + np.arange(len(word))[:, None]
    found: npt.NDArray[Any] = word[places % len(word)]
    return found


@dataclass(frozen=True, slots=True)
class WatermarkKey:
    """32 random bytes, and the model whose versions they mark."""

    model: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_name(self.model)
        if len(self.secret) != SECRET_BYTES:
            raise SealgateError(
                Reason.DOCUMENT_MALFORMED, f"a watermark secret of {len(self.secret)}"
            )

    def presence(self, payload: bytes) -> WatermarkCode:
        """For weights too few to carry a payload: chips of this payload's own, which say by their
        presence that it is the one.
        """
        return WatermarkCode(self.model, self._derived(_PRESENCE + payload))

    def worded(self, payload: bytes) -> WatermarkCode:
        """For weights that carry the payload: the key's own chips, the same for every version."""
        return WatermarkCode(self.model, self.secret, payload)

    def recipient(self, parent: str, name: str) -> WatermarkCode:
        """Of the copy that one recipient was given of the version with the digest `parent`.

        The secrets of recipients are independent to all but the key's holder, so one can be opened
        and tells nothing of the others.
        """
        return WatermarkCode(
            self.model, self._derived(_RECIPIENT + canonical.raw(parent) + name.encode())
        )

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.new(self.secret, purpose, hashlib.sha256).digest()


@dataclass(frozen=True, slots=True)
class Mark:
    """A version's mark before it is written: key, 4 random bytes, the unmarked file's digest."""

    key: WatermarkKey
    payload: bytes
    unmarked: str

    def __post_init__(self) -> None:
        canonical.check_digest(self.unmarked)
        if len(self.payload) != payloads.PAYLOAD_BYTES:
            raise SealgateError(
                Reason.DOCUMENT_MALFORMED, f"a payload of {len(self.payload)} bytes"
            )

    @property
    def commitment(self) -> str:
        """SHA-256 over a domain, the model's name with its length, secret, payload and digest.

        It binds all of them, and tells nothing of them, for the secret is 32 random bytes.
        """
        model = self.key.model.encode()
        opened = self.key.secret + self.payload + canonical.raw(self.unmarked)
        return canonical.sha256(_COMMITMENT + bytes([len(model)]) + model + opened)

    def code(self, *, worded: bool) -> WatermarkCode:
        """The signs of this mark, with its payload or by presence alone."""
        return self.key.worded(self.payload) if worded else self.key.presence(self.payload)


def save_watermark_key(path: Path, key: WatermarkKey) -> None:
    """Writes a new file that its owner alone can read.

    A key is never replaced, since its marks cannot be read without it. Raises: KEY_FILE_EXISTS,
    and OSError where the folder cannot be written.
    """
    document = {"type": _KEY, "model": key.model, "secret": key.secret.hex()}
    write_private_file(path, canonical.encode(document))


def load_watermark_key(path: Path) -> WatermarkKey:
    """Reads a key file. Raises: KEY_FILE_EXPOSED, KEY_UNREADABLE, DOCUMENT_MALFORMED."""
    names = ("model", "secret")
    document = fields.record(canonical.decode(read_private_file(path)), names, kind=_KEY)
    return WatermarkKey(
        fields.text(document["model"]), fields.unhex(document["secret"], SECRET_BYTES)
    )
