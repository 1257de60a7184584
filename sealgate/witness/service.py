"""A witness (C2SP tlog-witness): it cosigns a checkpoint only if that extends the one before.

The newest cosigned checkpoint is on the disk before the cosignature leaves, and is replaced only by
one that extends it. So after a crash, with two requests at once, or with two processes on one file,
it never signs for a smaller or a forked tree.
"""

import base64
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Self

from sealgate.reasons import Reason, SealgateError
from sealgate.trust import fields
from sealgate.trust.keys import Signer
from sealgate.trust.transparency import Checkpoint, note, open_checkpoint
from sealgate.trust.transparency.checkpoint import WitnessKey, cosign
from sealgate.trust.transparency.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency

MOST_HASHES = 63
LARGEST_BYTES = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"
PATH = "add-checkpoint"


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A checkpoint for a witness, with the proof that its tree extends the one of `old` leaves."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    def encode(self) -> bytes:
        lines = [
            f"old {self.old}",
            *(base64.b64encode(item).decode("ascii") for item in self.proof),
        ]
        return ("\n".join(lines) + "\n\n" + self.note).encode("utf-8")

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Read what `encode` writes. Raises SealgateError(DOCUMENT_MALFORMED)."""
        if len(body) > LARGEST_BYTES:
            raise fields.malformed("a request that is too large")
        try:
            head, separator, note = body.decode("utf-8").partition("\n\n")
        except UnicodeDecodeError as error:
            raise fields.malformed("a request that is not UTF-8") from error
        first, *lines = head.split("\n")
        if not separator or not first.startswith("old ") or len(lines) > MOST_HASHES:
            raise fields.malformed("not a request to add a checkpoint")
        return cls(size(first.removeprefix("old ")), _hashes(lines), note)


def size(text: str) -> int:
    """Read a tree's size in its one spelling. Raises SealgateError(DOCUMENT_MALFORMED)."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 16) or str(int(text)) != text:
        raise fields.malformed("not the size of a tree")
    return int(text)


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    hashes = tuple(map(fields.unbase64, lines))
    if any(len(item) != HASH_SIZE for item in hashes):
        raise fields.malformed("a hash has 32 bytes")
    return hashes


_TABLE = """
CREATE TABLE IF NOT EXISTS cosigned (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL
) STRICT
"""
_FIRST = "INSERT INTO cosigned VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_NEXT = """
UPDATE cosigned SET size = ?, root = ?, note = ? WHERE origin = ? AND size = ? AND root = ?
"""


@dataclass(frozen=True, slots=True)
class WitnessReply:
    """An HTTP answer."""

    status: HTTPStatus
    text: str
    kind: str = "text/plain; charset=utf-8"


class WitnessMemory:
    """The last cosigned checkpoint of each log, in a SQLite file."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Raises FileNotFoundError unless the file is a memory already or `create` is given: a
        witness that has forgotten what it signed may sign its opposite. Raises sqlite3.Error.
        """
        if not create and not (path.exists() and path.stat().st_size):
            raise FileNotFoundError(path)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # A journal that is removed must stay removed: at FULL, a power cut may bring it back.
        self._database.execute("PRAGMA synchronous = EXTRA")
        if create:
            self._database.execute(_TABLE)
        else:
            self._database.execute("SELECT size FROM cosigned LIMIT 1")

    def newest(self, origin: str) -> Checkpoint:
        """The newest checkpoint that was cosigned; of the empty tree where there is none."""
        query = "SELECT size, root FROM cosigned WHERE origin = ?"
        row = self._database.execute(query, (origin,)).fetchone()
        return Checkpoint(origin, *row) if row else Checkpoint(origin, 0, EMPTY_ROOT)

    def keep(self, before: Checkpoint, after: Checkpoint, signed: str) -> bool:
        """Remember `after`, with the log's signature, in the place of `before`; on return it is on
        the disk. False where `before` is no longer the newest: another process was faster.
        """
        values = (after.size, after.root, signed, after.origin, before.size, before.root)
        if self._database.execute(_NEXT, values).rowcount == 1:
            return True
        if before.size:
            return False
        first = (after.origin, after.size, after.root, signed)
        return self._database.execute(_FIRST, first).rowcount == 1

    def close(self) -> None:
        self._database.close()


class Witness:
    """Answers `add-checkpoint`. `logs` has the verifier key of each log by its origin."""

    def __init__(
        self,
        name: str,
        signer: Signer,
        logs: Mapping[str, str],
        memory: WitnessMemory,
        clock: Callable[[], float],
    ) -> None:
        self.vkey = WitnessKey.of(name, signer.public).vkey
        self._name = name
        self._signer = signer
        self._logs = logs
        self._memory = memory
        self._clock = clock
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes) -> WitnessReply:
        """Cosign a checkpoint, or say why not (C2SP tlog-witness).

        1. The request is well-formed (400).
        2. The log is known (404), and its key has signed the checkpoint (403).
        3. The proof starts at a tree that is no larger (400), and is the one cosigned last (409,
           with its size).
        4. The checkpoint is the same or extends it (422).
        5. It is remembered in the place of that one (else 409), and only then cosigned (200, with
           the line).

        Raises sqlite3.Error where it cannot be remembered, and as the signer does.
        """
        # 1.
        try:
            request = AddCheckpoint.decode(body)
            text, _ = note.split(request.note)
            checkpoint = Checkpoint.parse(text)
        except SealgateError as refusal:
            return WitnessReply(HTTPStatus.BAD_REQUEST, f"{refusal.detail}\n")
        # 2.
        key = self._logs.get(checkpoint.origin)
        if key is None:
            return WitnessReply(HTTPStatus.NOT_FOUND, "not a log of this witness\n")
        try:
            open_checkpoint(request.note, key)
        except SealgateError as refusal:
            malformed = refusal.reason is Reason.DOCUMENT_MALFORMED
            status = HTTPStatus.BAD_REQUEST if malformed else HTTPStatus.FORBIDDEN
            return WitnessReply(status, f"{refusal.reason.name}\n")
        with self._lock:
            return self._add(request, checkpoint, text)

    def _add(self, request: AddCheckpoint, checkpoint: Checkpoint, text: str) -> WitnessReply:
        newest = self._memory.newest(checkpoint.origin)
        # 3.
        if request.old > checkpoint.size:
            return WitnessReply(HTTPStatus.BAD_REQUEST, "a proof from a larger tree\n")
        if request.old != newest.size:
            return _moved_on(newest)
        # 4.
        try:
            verify_consistency(
                newest.size, newest.root, checkpoint.size, checkpoint.root, request.proof
            )
        except SealgateError as refusal:
            return WitnessReply(HTTPStatus.UNPROCESSABLE_ENTITY, f"{refusal.reason.name}\n")
        # 5.
        if not self._memory.keep(newest, checkpoint, request.note):
            return _moved_on(self._memory.newest(checkpoint.origin))
        return WitnessReply(
            HTTPStatus.OK, cosign(text, self._name, self._signer, int(self._clock()))
        )


def _moved_on(newest: Checkpoint) -> WitnessReply:
    return WitnessReply(HTTPStatus.CONFLICT, f"{newest.size}\n", SIZE_TYPE)
