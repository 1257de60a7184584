"""A shared place that holds nothing to be read, forged or moved by who keeps it.

Each row is sealed by ChaCha20-Poly1305 (RFC 8439) under a key that is derived from that of
sessions, with a random nonce before it; the session's name is bound to it, so that no row serves as
another session's.
"""

import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from gateway.config.optional_sections import SessionSettings
from gateway.sessions.session_rows import OwnStore, Store
from gateway.sessions.session_screen import KEY_BYTES, SessionWatch
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.keys import read_private_file

_NONCE_BYTES = 12
_RETRY_SECONDS = 1.0


class SealedStore:
    """Seals what goes to `store`, and opens what comes from it."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        # BLAKE2b takes 64 bytes at most.
        secret = hashlib.sha256(key).digest()
        sealing = hashlib.blake2b(digest_size=32, key=secret, person=b"sealed").digest()
        self._cipher = ChaCha20Poly1305(sealing)

    def exchange(self, session: str, rows: Sequence[bytes], cursor: str) -> tuple[list[bytes], str]:
        """See `Store`. Where a row was not sealed by a gateway, the session is not known."""
        name = session.encode()
        found, cursor = self._store.exchange(
            session, [self._sealed(row, name) for row in rows], cursor
        )
        return [self._opened(row, name) for row in found], cursor

    def close(self) -> None:
        self._store.close()

    def _sealed(self, row: bytes, name: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, row, name)

    def _opened(self, row: bytes, name: bytes) -> bytes:
        try:
            return self._cipher.decrypt(row[:_NONCE_BYTES], row[_NONCE_BYTES:], name)
        except (InvalidTag, ValueError) as error:
            raise SealgateError(
                Reason.SESSION_UNKNOWN, "a row is not ours", _RETRY_SECONDS
            ) from error


def open_sessions(settings: SessionSettings) -> SessionWatch:
    """The watch over sessions; its place is asked only when something is watched.

    Raises: ConfigError, and SealgateError for a key that others can read.
    """
    store, key = _store(settings), _key(settings.key)
    shared = not isinstance(store, OwnStore)
    return SessionWatch(SealedStore(store, key) if key and shared else store, key)


def _key(path: Path | None) -> bytes | None:
    if path is None:
        return None
    key = read_private_file(path)
    if len(key) < KEY_BYTES:
        raise ConfigError(f"[sessions] key = {str(path)!r} holds fewer than {KEY_BYTES} bytes")
    return key


def _store(settings: SessionSettings) -> Store:
    scheme = settings.url.partition("://")[0]
    try:
        if scheme == "postgresql":
            # Only the extras bring what these need.
            from gateway.sessions.postgres_store import PostgresStore

            return PostgresStore(settings.url, settings.kept_seconds)
        if scheme != "memory":
            from gateway.sessions.redis_store import RedisStore

            return RedisStore(settings.url, settings.kept_seconds)
    except ModuleNotFoundError as error:
        extra = "postgres" if scheme == "postgresql" else "redis"
        raise ConfigError(
            f"[sessions] url needs {error.name}: pip install 'sealgate[{extra}]'"
        ) from None
    except ValueError as error:
        raise ConfigError(f"[sessions] url cannot be used: {error}") from None
    return OwnStore()
