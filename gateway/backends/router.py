"""Two kinds of versions, each run where its kind is run: graphs, and language models."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.backends.remote import open_room
from gateway.config.engines import GeneratorSettings
from inference.backends.openai.generator import OpenAiEngine
from inference.backends.remote.engine_pool import EnginePool
from inference.backends.remote.generator import RemoteGeneratorEngine
from inference.engine.admission import FileSource, Source, VerifiedPointer
from inference.engine.engine import ServableVersion, UntrustedSnapshot, VersionLoader
from inference.engine.trust_state import Place
from inference.llm.request import is_generator
from sealgate.reasons import Refusal
from sealgate.settings import ConfigError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Manifest, Pointer, PointerBundle


@dataclass(frozen=True, slots=True)
class _Part:
    """The registry's state with some of its pointers."""

    policies: tuple[Envelope, ...]
    freshness: Envelope | None
    bundles: Mapping[Place, PointerBundle]


class BackendRouter:
    """A `VersionLoader`, and all processes in which versions run, as `gateway.sync.registry_sync`
    shows them.
    """

    def __init__(
        self,
        loader: VersionLoader,
        rooms: EnginePool | None,
        generators: RemoteGeneratorEngine | OpenAiEngine,
    ) -> None:
        """`loader` is for versions that run graphs, `rooms` where that is in other processes."""
        self._loader = loader
        self._rooms = rooms
        self._generators = generators

    @property
    def behind(self) -> bool:
        """Whether a process must be shown everything again."""
        return self._generators.behind or (self._rooms is not None and self._rooms.behind)

    def show(self, snapshot: UntrustedSnapshot, source: Source) -> None:
        """Show each process the pointers of its kind."""
        parts: dict[bool, dict[Place, PointerBundle]] = {True: {}, False: {}}
        for place, bundle in snapshot.bundles.items():
            parts[_is_generators(bundle, source)][place] = bundle
        state = (tuple(snapshot.policies), snapshot.freshness)
        if self._rooms is not None:
            self._rooms.show(_Part(*state, parts[False]), source)
        self._generators.show(_Part(*state, parts[True]), source)

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`."""
        kind = self._generators if is_generator(cleared.manifest) else self._loader
        return kind.load(cleared, source, loaded)

    def probe(self) -> None:
        """See `RemoteEngine.probe`."""
        for place in self._places():
            place.probe()

    def counts(self) -> list[Envelope]:
        """What each process says that it ran, signed; nothing is checked here."""
        return [*(self._rooms.counts() if self._rooms else ()), *self._generators.counts()]

    def close(self) -> None:
        for place in self._places():
            place.close()

    def _places(self) -> list[EnginePool | RemoteGeneratorEngine | OpenAiEngine]:
        return [self._generators, *([self._rooms] if self._rooms is not None else [])]


def _is_generators(bundle: PointerBundle, source: Source) -> bool:
    """Whether a pointer leads to a language model; not where its manifest cannot be read, for which
    it alone is refused, and no other pointer.
    """
    try:
        signed = source.signed_manifest(Pointer.decode(bundle.pointer.payload).digest)
        return is_generator(Manifest.decode(signed.manifest))
    except Refusal:
        return False


def open_generators(settings: GeneratorSettings) -> RemoteGeneratorEngine | OpenAiEngine | None:
    """The process or server that `[generator]` names, if it names one. Raises: ConfigError."""
    if settings.kind:
        return OpenAiEngine(settings.server(), settings.name, settings.model)
    try:
        room = open_room(settings, costs=False)
    except ConfigError as error:
        raise ConfigError(str(error).replace("[engine]", "[generator]")) from error
    return RemoteGeneratorEngine(room) if room is not None else None
