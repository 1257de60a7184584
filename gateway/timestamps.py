"""Gets time stamps (RFC 3161) on checkpoints at intervals, and stores them in a folder.

No answer waits for a stamp, and an unreachable authority only raises an alert. The authority gets
a hash. Requests are bounded in size and time; redirects are not followed, and the environment's
proxies are not used.

    house.localhost%2Fregistry/000000000042-20261129T100000Z.note    the checkpoint, a signed note
    house.localhost%2Fregistry/000000000042-20261129T100000Z.tsr     the authority's answer (DER)

Nothing is ever replaced: an earlier stamp says more than a later one.
"""

import http.client
import logging
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import quote, urlsplit

from gateway.config.optional_sections import TimestampSettings
from sealgate.files import read_regular_file, replace_file
from sealgate.network.bounded_http import HttpExchange
from sealgate.periodic import PeriodicThread
from sealgate.reasons import Reason, SealgateError
from sealgate.settings import ConfigError
from sealgate.trust.times import CLOCK_SKEW
from sealgate.trust.timestamps import LARGEST_STAMP, Timestamp, TimestampAuthority
from sealgate.trust.transparency import open_checkpoint

_NAME = re.compile(r"([0-9]{12})-([0-9]{8}T[0-9]{6}Z)\.tsr")
_TIME = "%Y%m%dT%H%M%SZ"
_log = logging.getLogger(__name__)
_SECONDS = 10.0
_AGAIN_SECONDS = 60.0


class StampedLog(NamedTuple):
    """How many entries of a log the newest stamp is of, and its time."""

    size: int
    time: datetime


class TimestampStore:
    """The stamps that are kept. `folder` is made with the first one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Looked up once, for there may be many files.
        self._newest: dict[str, StampedLog | None] = {}

    @classmethod
    def of(cls, settings: TimestampSettings, seen: Path) -> "TimestampStore":
        """The folder that is configured, by default beside the file `seen`."""
        return cls(settings.folder or seen.with_name("timestamps"))

    def copy_to(self, folder: Path) -> None:
        """Copy the files that another folder lacks. Raises OSError."""
        for path in sorted(self.folder.glob("*/*[0-9]Z.*")):
            place = folder / path.relative_to(self.folder)
            if path.suffix in (".note", ".tsr") and not place.exists():
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                replace_file(place, read_regular_file(path, LARGEST_STAMP + 1))

    def keep(self, origin: str, stamp: Timestamp, stamped: StampedLog) -> None:
        """Keep a verified stamp. Raises OSError."""
        home = self._home(origin)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        time = stamped.time.astimezone(UTC).strftime(_TIME)
        path = home / f"{stamped.size:012}-{time}.tsr"
        # The stamp last: without its note it is not there.
        replace_file(path.with_suffix(".note"), stamp.note.encode())
        replace_file(path, stamp.stamp)
        self._newest[origin] = stamped

    def newest(self, origin: str) -> StampedLog | None:
        """The newest stamp of a log, by its file's name."""
        if origin not in self._newest:
            found = filter(None, map(_parsed, self._names(origin)))
            self._newest[origin] = max(found, key=lambda each: each.time, default=None)
        return self._newest[origin]

    def stamps(self, origin: str) -> Iterator[Timestamp]:
        """Yield the stamps of a log in order. Raises OSError."""
        for name in sorted(self._names(origin)):
            path = self._home(origin) / name
            note = read_regular_file(path.with_suffix(".note"), LARGEST_STAMP)
            yield Timestamp(note.decode(), read_regular_file(path, LARGEST_STAMP + 1))

    def _names(self, origin: str) -> list[str]:
        home = self._home(origin)
        if not home.is_dir():
            return []
        return [path.name for path in home.iterdir() if _NAME.fullmatch(path.name)]

    def _home(self, origin: str) -> Path:
        return self.folder / quote(origin, safe="")


def _parsed(name: str) -> StampedLog | None:
    """The log's size and the time in a file's name; None for a time that does not exist."""
    size, _, time = name.removesuffix(".tsr").partition("-")
    try:
        return StampedLog(int(size), datetime.strptime(time, _TIME).replace(tzinfo=UTC))
    except ValueError:
        return None


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
        self._authority = _authority(settings)
        self._thread = PeriodicThread(
            "timestamps", min(self.every, _AGAIN_SECONDS), self.update, at_once=True
        )

    def start(self) -> None:
        if self._authority is not None:
            self._thread.start()

    def stop(self) -> None:
        """End. Nobody waits for an authority that is slow."""
        self._thread.stop(wait=False)

    def newest(self) -> dict[str, StampedLog | None]:
        """The newest stamp of each log, by origin; nothing where no authority is configured."""
        logs = self._logs if self.every else ()
        return {log.origin: self.store.newest(log.origin) for log in logs}

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
        if abs(time - self._clock()) > CLOCK_SKEW:
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
