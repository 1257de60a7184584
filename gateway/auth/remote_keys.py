"""A key set that is fetched: kept, renewed in the background, and used for a while when stale.

A thread fetches, never a call. A call whose token names an unknown key, after everything cheaper
has been checked, has the thread look once more, at most once an interval, and a few such calls
wait for it briefly: keys rotate.

The address comes from the gateway's configuration, or from the discovery document of an issuer
that stands there; never from a token or a caller. The environment's proxies are not used.
"""

import http.client
import json
import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.auth.key_sets import KeySet
from gateway.config.sections import check_address
from sealgate.network.bounded_http import HttpExchange
from sealgate.reasons import Reason, SealgateError

_LARGEST_BYTES = 256 * 1024
_SECONDS = 5.0
_OK = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches documents. `authority` (PEM) is trusted instead of the system's authorities."""

    authority: Path | None = None
    insecure_loopback: bool = False
    largest_bytes: int = _LARGEST_BYTES
    seconds: float = _SECONDS

    def get(self, url: str) -> bytes:
        """The document at `url`.

        Raises: KEY_SET_UNREACHABLE where the server is down, slow or answers with anything but
        200; KEY_SET_REFUSED for another address than https, or a document that is too large.
        """
        parts = check_address(url, insecure_loopback=self.insecure_loopback)
        exchange = HttpExchange(
            parts,
            self._context(parts),
            "GET",
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            self.largest_bytes,
            self.seconds,
            {"accept": "application/json", "accept-encoding": "identity"},
        )
        try:
            status, document = exchange.run()
        except (OSError, http.client.HTTPException, ValueError) as error:
            detail = f"{url}: {type(error).__name__}"
            raise SealgateError(Reason.KEY_SET_UNREACHABLE, detail) from error
        if status != _OK:
            raise SealgateError(Reason.KEY_SET_UNREACHABLE, f"{parts.netloc} answers {status}")
        if len(document) > self.largest_bytes:
            raise SealgateError(Reason.KEY_SET_REFUSED, f"{parts.netloc} sends too much")
        return document

    def _context(self, parts: SplitResult) -> ssl.SSLContext | None:
        if parts.scheme == "http":
            return None
        try:
            return ssl.create_default_context(cafile=self.authority)
        except OSError as error:
            raise SealgateError(Reason.KEY_SET_UNREACHABLE, f"{self.authority}: {error}") from error


_WELL_KNOWN = "/.well-known/openid-configuration"

Fetch = Callable[[], KeySet]


def from_url(fetcher: Fetcher, url: str) -> Fetch:
    """Fetches the key set at `url`."""
    return lambda: KeySet.parse(fetcher.get(url), strict=False)


def by_discovery(fetcher: Fetcher, issuer: str) -> Fetch:
    """Fetches the key set that the issuer's own configuration names, which must be the issuer's.

    The returned function raises SealgateError(KEY_SET_REFUSED) for the configuration of another
    issuer.
    """

    def fetch() -> KeySet:
        try:
            found = json.loads(fetcher.get(issuer.rstrip("/") + _WELL_KNOWN))
            named, address = found["issuer"], found["jwks_uri"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise SealgateError(Reason.KEY_SET_REFUSED, "no issuer's configuration") from error
        if named != issuer or not isinstance(address, str):
            raise SealgateError(Reason.KEY_SET_REFUSED, "the configuration of another issuer")
        return KeySet.parse(fetcher.get(address), strict=False)

    return fetch


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times in seconds: `refresh` between fetches; `stale`, how long a set is used after it was
    last fetched; `interval`, at least, between fetches that calls or failures cause; `wait`, how
    long a call waits for one, and `waiters`, how many calls may.
    """

    refresh: float = 300.0
    stale: float = 3600.0
    interval: float = 10.0
    wait: float = 2.0
    waiters: int = 8


class RemoteKeys:
    """The keys of one issuer, from wherever `fetch` gets them. It is a `KeySource`."""

    def __init__(
        self,
        name: str,
        fetch: Fetch,
        schedule: Schedule,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._schedule = schedule
        self._clock = clock
        self._changed = threading.Condition()
        self._key_set: KeySet | None = None
        self._fetched_at = 0.0
        self._failure = SealgateError(Reason.KEY_SET_UNREACHABLE, f"{name}: not fetched yet")
        self._next_at = clock()
        self.last_at = clock() - schedule.interval
        self._rounds = 0
        self._waiting = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)

    def start(self) -> None:
        """Begin to fetch, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, without waiting for a fetch that hangs; its time is bounded."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def current(self) -> KeySet:
        """The newest set. Raises: the reason of the last failure, without a set or a fresh one."""
        with self._changed:
            return self._usable()

    def find(self, kid: str) -> tuple[KeySet, jwt.PyJWK] | None:
        """The key of that id; where it is unknown, once the set has been fetched again.

        Raises: KEY_SET_UNREACHABLE, KEY_SET_REFUSED.
        """
        with self._changed:
            if self._key_set is None or kid not in self._key_set.keys:
                self._await_newer()
            key_set = self._usable()
            key = key_set.keys.get(kid)
        return None if key is None else (key_set, key)

    def may_wait(self, kid: str) -> bool:
        """See `KeySource`."""
        with self._changed:
            return self._key_set is None or kid not in self._key_set.keys

    def refresh(self) -> None:
        """Fetch once, now. A failure is logged and remembered."""
        try:
            fetched = self._fetch()
        except Exception as error:
            # The outermost boundary of the thread, which must go on.
            _log.error("the keys of %s: %s", self._name, error)
            if not isinstance(error, SealgateError):
                error = SealgateError(Reason.KEY_SET_REFUSED, f"{type(error).__name__}: {error}")
            with self._changed:
                self._failure = error
                self._done(self._schedule.interval)
            return
        with self._changed:
            self._fetched_at = self._clock()
            # The same keys stay the same set, so that what they verified stays verified.
            if self._key_set is None or not _same(self._key_set, fetched):
                self._key_set = fetched
            self._done(self._schedule.refresh)

    def _usable(self) -> KeySet:
        if self._key_set is None:
            raise self._again()
        if self._clock() - self._fetched_at > self._schedule.stale:
            raise self._again()
        return self._key_set

    def _again(self) -> SealgateError:
        return SealgateError(self._failure.reason, self._failure.detail)

    def _await_newer(self) -> None:
        """Have the set fetched unless that was done just now, and wait for it a little."""
        due = self._clock() >= self.last_at + self._schedule.interval
        fetching = self._clock() >= self._next_at
        if not (due or fetching) or self._waiting >= self._schedule.waiters:
            return
        self._next_at = min(self._next_at, self._clock())
        self._changed.notify_all()
        rounds = self._rounds
        self._waiting += 1
        try:
            self._changed.wait_for(lambda: self._rounds > rounds, self._schedule.wait)
        finally:
            self._waiting -= 1

    def _done(self, pause: float) -> None:
        self.last_at = self._clock()
        self._next_at = self.last_at + pause
        self._rounds += 1
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and self._clock() < self._next_at:
                    self._changed.wait(self._next_at - self._clock())
                if self._stopping:
                    return
            self.refresh()


def _same(one: KeySet, other: KeySet) -> bool:
    return _numbers(one) == _numbers(other)


def _numbers(key_set: KeySet) -> dict[str, bytes]:
    return {
        kid: key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for kid, key in key_set.keys.items()
    }
