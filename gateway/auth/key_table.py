"""The registry's API keys, kept in memory, so that no call waits for a database.

A thread looks for changes as the engine's watch does: a key that is revoked by one gateway falls on
the others within milliseconds, and on that one before the revocation is answered. What is read are
entries of the registry's log, verified (see `registry.state.logged_state`): an edited table revives
no key, and a log that was put back is not followed.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime

from gateway.auth.api_keys import ApiKeyMaker, KnownKeys, now
from registry.registry import Registry
from registry.storage.changes import Changes
from sealgate.reasons import Reason, SealgateError

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
# A registry that failed is asked again after this long.
_RETRY_SECONDS = 1.0


class KeyTable:
    """Follows the API keys of a registry. Without a `maker` there are none."""

    def __init__(
        self,
        maker: ApiKeyMaker | None,
        clock: Callable[[], datetime] = now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._maker = maker
        self.registry: Registry | None = None
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: KnownKeys | None = None
        self._token: object = None
        self._confirmed_at = 0.0
        self._changes: Changes | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-keys", daemon=True)

    @property
    def maker(self) -> ApiKeyMaker:
        """Raises: API_KEYS_OFF."""
        if self._maker is None:
            raise SealgateError(Reason.API_KEYS_OFF)
        return self._maker

    def start(self, registry: Registry) -> None:
        """Read the keys, then follow them in a thread.

        Raises: REGISTRY_UNAVAILABLE, LOG_INCONSISTENT.
        """
        if self._maker is not None:
            self.registry = registry
            self.follow()
            self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            if self._changes is not None:
                self._changes.wake()
            self._thread.join()

    def follow(self) -> None:
        """Read what is new, if anything has changed.

        Raises: REGISTRY_UNAVAILABLE, LOG_INCONSISTENT.
        """
        registry = self.registry
        if registry is None:
            return
        with self._lock:
            asked_at = self._monotonic()
            token = registry.change_token()
            if token != self._token or self._known is None:
                logged = registry.logged()
                # The same object grows from then on.
                self._known = self._known or KnownKeys(self.maker, logged)
                self._token = token
            self._confirmed_at = asked_at

    def block(self, key_id: str) -> None:
        """Let a key pass no more here, although its revocation could not be recorded."""
        if self._known is not None:
            self._known.block(key_id)

    def holder(self, text: str, fresh: float) -> str:
        """The name of the principal whose key it is.

        With the registry away, what was last read holds for `fresh` seconds. Raises:
        REGISTRY_UNAVAILABLE after that, and API_KEY_ reasons.
        """
        if self._maker is None:
            raise SealgateError(Reason.API_KEY_INVALID, "there are no API keys here")
        known = self._known
        if known is None or self._monotonic() - self._confirmed_at > fresh:
            raise SealgateError(Reason.REGISTRY_UNAVAILABLE, "the API keys are not up to date")
        return known.holder(text, self._clock())

    def _run(self) -> None:
        if self.registry is None:
            return
        changes = self._changes = self.registry.changes()
        try:
            while not self._stopping.is_set():
                if changes.wait(_WAIT_SECONDS) and not self._stopping.is_set():
                    self._guarded()
        finally:
            changes.close()

    def _guarded(self) -> None:
        try:
            self.follow()
        except SealgateError as refusal:
            _log.error("following the API keys: %s", refusal)
            self._stopping.wait(_RETRY_SECONDS)
