"""Opening the place that `[sessions]` names."""

from pathlib import Path

from gateway.session_settings import SessionSettings
from gateway.sessions.sealed import SealedStore
from gateway.sessions.store import OwnStore, Store
from gateway.sessions.watch import KEY_BYTES, SessionWatch
from sealgate.settings import ConfigError
from sealgate.trust.keys import read_private_file


def open_sessions(settings: SessionSettings) -> SessionWatch:
    """The watch over sessions; its place is asked only when something is watched.

    Raises: ConfigError, and Refusal for a key that others can read.
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
