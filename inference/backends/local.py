"""Local backend: loads a version from its verified bytes, and runs its graphs in this process.

Its watchdog ends runs that take too long and replaces versions that hang. One thread watches all
versions; each replacement runs on one more thread, since what hung may hang again. A run that
exceeds its time is told to end, and its requests fail with RUN_HUNG; ONNX Runtime checks for this
between operators. If a single operator hangs, the run is abandoned: everyone who waits for it or
behind it gets an error, the version's files are read and verified again, and new sessions replace
the old ones. Only the leading thread is lost until the operator returns.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from inference.backends.load_limit import LOAD_SECONDS, LoadLimit
from inference.backends.trial_load import TrialLoad
from inference.batching import NO_BOUNDS, OperatorBounds
from inference.engine import (
    FileSource,
    ReadyVersion,
    RunFault,
    ServableVersion,
    VerifiedPointer,
    read_files,
)
from inference.runtime.machine import with_bounded_arena
from inference.runtime.providers import check_provider
from inference.runtime.settings import (
    CPU,
    ON_CPU,
    CorePool,
    CpuSettings,
    RunSettings,
    RuntimeSettings,
)

_log = logging.getLogger(__name__)
# How often it looks: a hang is found this much later than it might be.
_EVERY_SECONDS = 1.0
# How long a run that was told to end may take to do so.
_GRACE_SECONDS = 5.0


class LocalLoader:
    """A `VersionLoader` that builds a version from the very bytes that were hashed."""

    def __init__(
        self,
        cpu: CpuSettings,
        bounds: OperatorBounds = NO_BOUNDS,
        settings: RuntimeSettings = ON_CPU,
        load_seconds: float = LOAD_SECONDS,
        trial: TrialLoad | None = None,
    ) -> None:
        """`bounds` limit the batching of versions; `settings` choose the execution provider.
        A version may take `load_seconds` to load, with the `trial` before it.

        Raises: ConfigError if the provider is not available.
        """
        check_provider(settings)
        settings = with_bounded_arena(settings)
        self._cpu = cpu
        self._bounds = bounds
        self._running = RunSettings(settings, CorePool(cpu.cores // cpu.threads_per_run))
        self._watchdog = Watchdog()
        self._limit: LoadLimit[ReadyVersion] = LoadLimit(load_seconds, trial)

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises SealgateError as `read_files`, `ReadyVersion.build` and
        `LoadLimit.load` do.
        """
        if loaded is not None:
            return loaded
        digest = cleared.pointer.digest

        def made(files: Mapping[str, bytes]) -> ReadyVersion:
            return ReadyVersion.build(
                digest, files, self._cpu, bounds=self._bounds, running=self._running
            )

        def build() -> ReadyVersion:
            return made(read_files(cleared.manifest, source))

        version = self._limit.load(digest, read_files(cleared.manifest, source), made)
        if self._running.settings.provider != CPU:
            _log.info("%s runs %s", version.digest, version.engine)
        seconds = self._bounds.run_seconds(version.config.name)
        self._watchdog.watch(version, seconds, build)
        return version


@dataclass(frozen=True, slots=True)
class RebuildTerms:
    """How many seconds a run may take, and where a version comes from anew."""

    seconds: float
    build: Callable[[], ReadyVersion]


class Watchdog:
    """Watches versions for as long as anything else refers to them."""

    def __init__(self, every: float = _EVERY_SECONDS, grace: float = _GRACE_SECONDS) -> None:
        self._every = every
        self._grace = grace
        self._mutex = threading.Lock()
        self._watched: weakref.WeakKeyDictionary[ReadyVersion, RebuildTerms]
        self._watched = weakref.WeakKeyDictionary()
        self._replaced: weakref.WeakSet[ReadyVersion] = weakref.WeakSet()
        self.thread: threading.Thread | None = None

    def watch(
        self, version: ReadyVersion, seconds: float, build: Callable[[], ReadyVersion]
    ) -> None:
        """Watch `version`, whose runs may take `seconds`; `build` makes a replacement from its
        files.

        The thread ends when there is nothing left to watch.
        """
        with self._mutex:
            self._watched[version] = RebuildTerms(seconds, build)
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self.thread.start()

    def _run(self) -> None:
        while self._patrol():
            time.sleep(self._every)

    def _patrol(self) -> bool:
        """Look once; returns whether there was anything to watch."""
        with self._mutex:
            watched = list(self._watched.items())
            if not watched:
                self.thread = None
                return False
        for version, terms in watched:
            try:
                self.look(version, terms, time.monotonic())
            except Exception:  # whatever is wrong with one version, the others go on
                _log.exception("version %s cannot be looked after", version.digest)
        return True

    def look(self, version: ReadyVersion, terms: RebuildTerms, now: float) -> None:
        if version in self._replaced:
            # Its old runs may hang on: to give up now could be to give up its new sessions.
            return
        began = now - terms.seconds
        if version.end_runs(began):
            version.statistics.happened(RunFault.RUN_ENDED)
            _log.error(
                "a run of %s took more than %s s and was ended", version.digest, terms.seconds
            )
        if version.is_running_since(began - self._grace):
            version.give_up()
            _log.error("a run of %s does not end and is abandoned", version.digest)
        if version.is_given_up:
            self._begin_anew(version, terms)

    def _begin_anew(self, version: ReadyVersion, terms: RebuildTerms) -> None:
        again = threading.Thread(
            target=self._replace, args=(version, terms), name="replace", daemon=True
        )
        self._replaced.add(version)
        try:
            again.start()
        except RuntimeError:
            # There is no room for a thread; there may be when it is looked at next.
            self._replaced.discard(version)
            raise

    def _replace(self, version: ReadyVersion, terms: RebuildTerms) -> None:
        try:
            version.take_over(terms.build())
            version.statistics.happened(RunFault.SESSIONS_REPLACED)
            _log.error("version %s runs in new sessions", version.digest)
        except Exception:  # whatever keeps it from coming back, it is tried again
            _log.exception("version %s hangs and cannot be replaced", version.digest)
        finally:
            self._replaced.discard(version)
