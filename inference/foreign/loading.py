"""The loader of versions that a foreign server runs.

All of a version's files are read and verified here. Screening runs here too, from the version's own
response graph and detector; only the model's answers come from the server. They must be the
version's golden answers before it serves: that, and no digest, is what ties the server's model to
the signed bytes.
"""

import logging
from dataclasses import replace

from inference.admission import Cleared, FileSource, read_files
from inference.batching import NO_BOUNDS, OperatorBounds
from inference.cpu import CpuSettings
from inference.foreign.model import ForeignModel
from inference.foreign.server import ForeignServer
from inference.foreign.settings import ForeignSettings
from inference.golden import Golden
from inference.live import Ready
from inference.model_config import ModelConfig
from inference.serving import Serving
from inference.version import GOLDEN, MODEL, ReadyVersion
from sealgate.reasons import Reason, Refusal

_log = logging.getLogger(__name__)


class ForeignLoader:
    """A `Loader`."""

    def __init__(
        self, settings: ForeignSettings, cpu: CpuSettings, bounds: OperatorBounds = NO_BOUNDS
    ) -> None:
        """`bounds` tighten how versions are batched. Raises: ConfigError."""
        self._bounds = bounds
        self._settings = settings
        self._cpu = cpu
        self._server = ForeignServer(settings)
        self._place = f'foreign "{settings.name}", digest not checked there'

    def load(self, cleared: Cleared, source: FileSource, loaded: Ready | None) -> Ready:
        """See `Loader`. Raises Refusal as `read_files` and `ReadyVersion.build` do, and:
        ENGINE_UNAVAILABLE where the server is away or does not serve the version yet;
        ANSWER_MALFORMED; GOLDEN_MISMATCH; ENGINE_UNSUITABLE for a text model.
        """
        if loaded is not None:
            return loaded
        pointer, settings = cleared.pointer, self._settings
        named = settings.named(pointer.model, pointer.version)
        # Asked each second while the server is away: before anything is read.
        self._server.check_ready(*named)
        files = read_files(cleared.manifest, source)
        signed = ModelConfig.decode(files[MODEL])
        config = replace(signed, batching=self._bounds.tighten(signed.name, signed.batching))
        if config.tokens is not None:
            # Which texts share a batch there, and how they are filled up, cannot be seen from here.
            raise Refusal(Reason.ENGINE_UNSUITABLE, "a foreign server runs no text models")
        golden = Golden.decode(files[GOLDEN], config)
        model = ForeignModel(self._server, named, config, golden, settings.tolerance)
        off = settings.tolerance
        serving = Serving(
            model, settings.lanes, self._place, tolerance=off, company=off, arithmetic=""
        )
        ready = ReadyVersion.build(pointer.digest, files, self._cpu, serving, self._bounds)
        _log.warning(
            "%s version %d, %s, runs as %r %r in %s: its golden answers come out within %g",
            *(pointer.model, pointer.version, pointer.digest, *named),
            *(self._place, settings.tolerance),
        )
        return ready

    def close(self) -> None:
        self._server.close()


def open_foreign(
    settings: ForeignSettings, cpu: CpuSettings, bounds: OperatorBounds = NO_BOUNDS
) -> ForeignLoader | None:
    """The loader that the configuration names, if it names one. Raises: ConfigError."""
    return ForeignLoader(settings, cpu, bounds) if settings.address else None
