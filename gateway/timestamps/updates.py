"""Has checkpoints stamped by an authority, now and then, on a thread of its own.

No answer waits for it, and an authority that is away is only alarmed. What is sent is a hash.
Requests are bounded in size and time; redirects are not followed, and the environment's proxies
are not used.
"""

import http.client
import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from gateway.config.optional_sections import TimestampSettings
from gateway.timestamps.store import StampedLog, TimestampStore
from sealgate.files import read_regular_file
from sealgate.http_exchange import HttpExchange
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.timestamps import LARGEST_STAMP, Timestamp, TimestampAuthority
from sealgate.trust.transparency import open_checkpoint

_log = logging.getLogger(__name__)
_SECONDS = 10.0
_AGAIN_SECONDS = 60.0
# By how much an authority's clock and ours may differ.
_APART = timedelta(minutes=5)


class CheckpointSource(Protocol):
    """A log whose checkpoints are stamped, as `registry.log.reader.LogReader` is."""

    origin: str

    @property
    def vkey(self) -> str: ...

    def checkpoint(self) -> str: ...


class TimestampUpdater:
    """A thread that has the newest checkpoint of each log stamped, every so often."""

    def __init__(
        self,
        settings: TimestampSettings,
        seen: Path,
        logs: Sequence[CheckpointSource],
        clock: Callable[[], datetime],
    ) -> None:
        """Stamps are kept as `TimestampStore.of` says.

        Raises ConfigError where the authority's certificates cannot be used.
        """
        self.store = TimestampStore.of(settings, seen)
        self.every = settings.every if settings.url else 0.0
        """The seconds between two stamps of a log; 0 where there are none."""
        self._settings = settings
        self._logs = logs
        self._clock = clock
        self._stopping = threading.Event()
        self._authority = _authority(settings)

    def start(self) -> None:
        if self._authority is not None:
            threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """End. Nobody waits for an authority that is slow."""
        self._stopping.set()

    def newest(self) -> dict[str, StampedLog | None]:
        """The newest stamp of each log, by origin; nothing where no authority is configured."""
        logs = self._logs if self.every else ()
        return {log.origin: self.store.newest(log.origin) for log in logs}

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.update()
            self._stopping.wait(min(self.every, _AGAIN_SECONDS))

    def update(self) -> None:
        """Have each log stamped whose last stamp is old enough."""
        for log in self._logs:
            try:
                newest = self.store.newest(log.origin)
                # Names of files are nobody's word: one of a time to come stops nothing.
                if not newest or abs(self._clock() - newest.time) >= timedelta(seconds=self.every):
                    self.stamp(log)
            except (SealgateError, OSError) as error:
                _log.error("%s is not stamped: %s", log.origin, error)
            except Exception:
                _log.exception("having %s stamped", log.origin)

    def stamp(self, log: CheckpointSource) -> datetime:
        """Have the newest checkpoint of a log stamped and keep the stamp; return its time.

        1. The checkpoint is signed by the log's key (SIGNATURE_INVALID).
        2. The authority answers (TIMESTAMP_REFUSED).
        3. Its stamp is for this request; see `TimestampAuthority.verify`.
        4. Its time is ours, to five minutes (TIMESTAMP_MISMATCH).

        Raises OSError where it cannot be kept.
        """
        authority = self._authority
        if authority is None:
            raise SealgateError(Reason.TIMESTAMP_REFUSED, "no authority is configured")
        # 1.
        note = log.checkpoint()
        size = open_checkpoint(note, log.vkey).size
        # 2.
        request = authority.request(note)
        stamp = Timestamp(note, _post(self._settings, request.data))
        # 3.
        time = authority.verify(stamp, request.nonce)
        # 4.
        if abs(time - self._clock()) > _APART:
            raise SealgateError(Reason.TIMESTAMP_MISMATCH, f"the authority says that it is {time}")
        self.store.keep(log.origin, stamp, StampedLog(size, time))
        return time


def _authority(settings: TimestampSettings) -> TimestampAuthority | None:
    if not settings.url or settings.certificates is None:
        return None
    try:
        authority = TimestampAuthority(
            read_regular_file(settings.certificates, LARGEST_STAMP), settings.policy
        )
        authority.request("is the library here?")
    except (SealgateError, OSError) as error:
        raise ConfigError(f"[timestamps] certificates or policy cannot be used: {error}") from error
    return authority


def _post(settings: TimestampSettings, body: bytes) -> bytes:
    """Send a request; return the answer. Raises SealgateError(TIMESTAMP_REFUSED)."""
    parts = urlsplit(settings.url)
    context = None
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=settings.authority)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        headers = {"content-type": "application/timestamp-query", "accept-encoding": "identity"}
        exchange = HttpExchange(
            parts, context, "POST", target, LARGEST_STAMP, _SECONDS, headers, body
        )
        status, answer = exchange.run()
    except (OSError, http.client.HTTPException, ValueError) as error:
        detail = f"{parts.netloc}: {type(error).__name__}: {error}"
        raise SealgateError(Reason.TIMESTAMP_REFUSED, detail) from error
    if status != HTTPStatus.OK:
        raise SealgateError(Reason.TIMESTAMP_REFUSED, f"{parts.netloc}: status {status}")
    return answer
