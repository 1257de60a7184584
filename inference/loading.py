"""The loader of this process: reads a version's verified bytes, and runs its graphs right here."""

from inference.admission import Cleared, FileSource, read_files
from inference.batching import NO_BOUNDS, OperatorBounds
from inference.cpu import CpuSettings
from inference.live import Ready
from inference.version import ReadyVersion
from inference.watchdog import Watchdog


class LocalLoader:
    """Builds a version from the very bytes that were hashed. A `Loader`."""

    def __init__(self, cpu: CpuSettings, bounds: OperatorBounds = NO_BOUNDS) -> None:
        """`bounds` tighten how versions are batched."""
        self._cpu = cpu
        self._bounds = bounds
        self._watchdog = Watchdog()

    def load(self, cleared: Cleared, source: FileSource, loaded: Ready | None) -> Ready:
        """See `Loader`. Raises Refusal as `read_files` and `ReadyVersion.build` do."""
        if loaded is not None:
            return loaded

        def build() -> ReadyVersion:
            files = read_files(cleared.manifest, source)
            digest = cleared.pointer.digest
            return ReadyVersion.build(digest, files, self._cpu, bounds=self._bounds)

        version = build()
        seconds = self._bounds.run_seconds(version.config.name)
        self._watchdog.watch(version, seconds, build)
        return version
