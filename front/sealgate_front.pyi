"""TLS, HTTP/2 and gRPC framing off the interpreter; hands Python bursts of calls."""

from collections.abc import Sequence

__version__: str

class Entries:
    """The entries of some openings; see `registry.answers.entries.Entries`.

    Each opening is (values, nonce, subject, subject's key), each key 32 bytes of AES-256 and 8 that
    name it; `ivs` has 12 random bytes for each. Raises ValueError, TypeError or UnicodeEncodeError
    for what is no opening of an entry.
    """

    def __init__(
        self,
        openings: Sequence[tuple[tuple[str, ...], bytes, str, bytes]],
        keys: Sequence[bytes],
        ivs: bytes,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def leaves(self) -> list[bytes]: ...
    @property
    def hashes(self) -> list[bytes]: ...
    @property
    def sealed(self) -> list[bytes]: ...
    def salts(self, at: int) -> bytes: ...
    def receipt(self, at: int, index: int, path: str, tail: str) -> bytes: ...
