"""TLS, HTTP/2 and gRPC framing off the interpreter; hands Python bursts of calls."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, final

__version__: str

T = TypeVar("T")

# An array in C order. Before Python 3.12 there is no type of what has a buffer.
Buffer: TypeAlias = Any

Answer: TypeAlias = (
    tuple[Call, bytes]
    | tuple[Call, bytes, str]
    | tuple[Call, int, str, Sequence[tuple[str, bytes]]]
)

@final
class Call:
    """A whole call. Dropped unanswered, its stream is reset."""

    @property
    def id(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def message(self) -> bytes: ...
    @property
    def is_compressed(self) -> bool: ...
    @property
    def connection(self) -> int: ...
    @property
    def peer(self) -> str: ...
    @property
    def certificate(self) -> bytes | None: ...
    def metadata(self, read: Callable[[list[tuple[str, bytes]]], T]) -> T:
        """What `read` makes of names and values; called once for all calls of a batch that have the
        same metadata.
        """

    def values(self, name: str) -> list[bytes]: ...
    def time_remaining(self) -> float | None: ...
    def is_active(self) -> bool: ...
    def watch(self, front: Front) -> None: ...
    def refuse_alike(
        self,
        front: Front,
        beginning: int,
        seconds: float,
        code: int,
        details: str,
        trailing: Sequence[tuple[str, bytes]],
    ) -> None:
        """Refuse later calls, for so long: those with the same certificate and metadata whose
        message begins with the same `beginning` bytes. Raises ValueError for a compressed one.
        """

    def note_caller(self) -> None: ...

@final
class Front:
    def __new__(
        cls, handed_paths: set[str], upstream: str, secret: str, **limits: float
    ) -> Front: ...
    def listen(self, name: str, address: str, shared: bool = False) -> int: ...
    def set_tls(
        self, name: str, certificate: bytes, key: bytes, authority: bytes | None = None
    ) -> None: ...
    def set_full(self, code: int, details: str, trailing: Sequence[tuple[str, bytes]]) -> None: ...
    def start(self) -> None: ...
    def recv_batch(self, most: int, seconds: float) -> list[Call]: ...
    def recv_gone(self, seconds: float) -> list[int]: ...
    def respond(self, answers: Sequence[Answer]) -> None: ...
    def connections(self) -> list[tuple[int, str, str, float, bool]]: ...
    def peer(self, connection: int) -> tuple[str, bytes | None] | None: ...
    def note_caller(self, connection: int) -> None: ...
    def end(self, connections: Sequence[int]) -> None: ...
    def drain(self) -> None: ...
    def counts(self) -> dict[str, int]: ...
    def close(self) -> None: ...

@final
class Entries:
    """The entries of some openings; see `registry.answers.answer_log.Entries`.

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

@final
class PrintTables:
    """What a key draws for rows of one width; see `gateway.sessions.fingerprints`."""

    def __init__(
        self,
        width: int,
        places: Sequence[int],
        offsets: Sequence[float],
        factors: Sequence[int],
        kept: Sequence[int],
        starts: Sequence[float],
    ) -> None: ...
    def encoded(
        self, rows: Buffer, exact: Sequence[bytes], sketches: Buffer, with_levels: bool
    ) -> list[bytes]: ...

@final
class SessionRows:
    """The last `remembered` rows of a session; see `gateway.sessions.session_rows.SessionRows`."""

    def __init__(self, remembered: int) -> None: ...
    def take(
        self, prints: Sequence[bytes], classes: Sequence[int], told: Sequence[int]
    ) -> list[tuple[bool, bool, bool, bool, float | None, int | None]]:
        """The fields of a `SeenRow` for each row. Raises ValueError for what is no print."""

@final
class Neighbourhoods:
    """The last `room` rows of a model; see `gateway.sessions.neighbourhoods.KeptRows`."""

    def __init__(self, room: int) -> None: ...
    def crossed(self, caller: int, prints: Sequence[bytes], classes: Sequence[int]) -> list[bool]:
        """Which rows cross. Raises ValueError for what is no print."""

def digest_text(head: bytes, raw: bytes) -> str:
    """`sha256:` and the digest of both, in hexadecimal."""

def float_span(raw: bytes) -> tuple[float, float]:
    """The least and the largest of little-endian float32; see `sealgate.tensors`. Raises ValueError
    for another length.
    """
