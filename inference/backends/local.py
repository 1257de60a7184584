"""Local backend: loads a version from its verified bytes and runs its graphs in this process."""

import logging

from inference.batching.limits import NO_BOUNDS, OperatorBounds
from inference.engine.live_table import ServableVersion
from inference.engine.ready_version import ReadyVersion
from inference.engine.version_verifier import FileSource, VerifiedPointer, read_files
from inference.engine.watchdog import Watchdog
from inference.runtime.providers import bound_arena, check_provider
from inference.runtime.settings import (
    CPU,
    ON_CPU,
    CorePool,
    CpuSettings,
    RunSettings,
    RuntimeSettings,
)

_log = logging.getLogger(__name__)


class LocalLoader:
    """A `VersionLoader` that builds a version from the very bytes that were hashed."""

    def __init__(
        self,
        cpu: CpuSettings,
        bounds: OperatorBounds = NO_BOUNDS,
        settings: RuntimeSettings = ON_CPU,
    ) -> None:
        """`bounds` limit the batching of versions; `settings` choose the execution provider.

        Raises: ConfigError if the provider is not available.
        """
        check_provider(settings)
        if settings.arena_mb and not settings.is_on_gpu:
            bound_arena(settings.arena_mb)
        self._cpu = cpu
        self._bounds = bounds
        self._running = RunSettings(settings, CorePool(cpu.cores // cpu.threads_per_run))
        self._watchdog = Watchdog()

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises SealgateError as `read_files` and `ReadyVersion.build` do."""
        if loaded is not None:
            return loaded

        def build() -> ReadyVersion:
            files = read_files(cleared.manifest, source)
            digest = cleared.pointer.digest
            return ReadyVersion.build(
                digest, files, self._cpu, bounds=self._bounds, running=self._running
            )

        version = build()
        if self._running.settings.provider != CPU:
            _log.info("%s runs %s", version.digest, version.engine)
        seconds = self._bounds.run_seconds(version.config.name)
        self._watchdog.watch(version, seconds, build)
        return version
