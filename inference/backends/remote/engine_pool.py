"""All remote engines as one `VersionLoader`; a version runs on the engine that finishes first.

Every engine is shown every pointer and verifies it itself. A pointer is followed if at least one
engine follows it and none objects. An engine that is unreachable, or that cannot run the version,
is left out and rejoins by itself.

If an engine does not answer, another one is asked. The first may still have run and counted the
request, so the entry records how many engines were asked: see `sealgate.audit.completeness`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from inference.backends.remote.bursts import Attempt, BurstCalls, Engines
from inference.backends.remote.messages import Answer, RemoteRequest, VersionMessages
from inference.backends.remote.placement import EnginePlacement, MeasuredEngine
from inference.backends.remote.remote_engine import RemoteEngine
from inference.backends.remote.remote_version import RemoteVersion, VersionTerms
from inference.engine import (
    FileSource,
    Place,
    ServableVersion,
    Source,
    UntrustedSnapshot,
    VerifiedPointer,
)
from inference.runtime.settings import CPU
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.receipts.answer_entry import SEPARATE

_log = logging.getLogger(__name__)

# Reasons that concern the engine itself, not a pointer or a version.
_OF_ITSELF = frozenset(
    {
        Reason.ENGINE_UNAVAILABLE,
        Reason.ENGINE_UNSUITABLE,
        Reason.GOLDEN_MISMATCH,
        Reason.OUT_OF_MEMORY,
    }
)


class EnginePool:
    """A `VersionLoader` over several remote engines. Safe for many threads."""

    def __init__(self, engines: Sequence[RemoteEngine]) -> None:
        """`engines` are one or more, of a name each."""
        self.engines = {engine.name: engine for engine in engines}
        self.placement = EnginePlacement(self.engines)
        # So that one that hangs does not keep the others from being shown.
        self._pool = ThreadPoolExecutor(len(engines), thread_name_prefix="show")
        self._told: dict[str, dict[Place, str]] = {}

    @property
    def behind(self) -> bool:
        """Whether an engine must be shown everything again."""
        return any(engine.behind for engine in self.engines.values())

    def show(self, snapshot: UntrustedSnapshot, source: Source) -> None:
        """See `RemoteEngine.show`."""
        list(self._pool.map(lambda engine: engine.show(snapshot, source), self.engines.values()))
        for name, engine in self.engines.items():
            refused = {place: str(refusal) for place, refusal in engine.refused().items()}
            if refused != self._told.get(name, {}):
                _log.warning("%s does not follow: %s", name, refused or "nothing more")
            self._told[name] = refused

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """See `VersionLoader`. Raises: ENGINE_UNAVAILABLE; why an engine does not follow; as
        `VersionTerms.read`.
        """
        pointer, refusals = cleared.pointer, []
        for engine in self.engines.values():
            try:
                engine.check_follows(pointer, cleared.pointer_digest)
            except SealgateError as refusal:
                refusals.append(refusal)
        against = [each for each in refusals if each.reason not in _OF_ITSELF]
        if against or len(refusals) == len(self.engines):
            raise (against or refusals)[0]
        if isinstance(loaded, RemoteVersion) and loaded.is_of(pointer.model, pointer.version):
            return loaded
        terms = VersionTerms.read(cleared.manifest, source)
        return RemoteVersion(self, pointer.model, pointer.version, pointer.digest, terms)

    def engine(self, digest: str) -> str:
        """See `EngineCaller`."""
        places = [self._place(name, digest) for name in self.engines]
        if len(places) > 1:
            return f"{SEPARATE}; up to {len(places)} asked: {', '.join(places)}"
        return self._heard(next(iter(self.engines)), digest, 1)

    def ask(
        self, digest: str, rows: int, request: oip.ModelInferRequest, deadline: float | None
    ) -> tuple[oip.ModelInferResponse, str]:
        """See `EngineCaller`."""
        attempt = self._first_attempt(digest)
        while True:
            with self.placement.placed(digest, rows, attempt.candidates) as name:
                try:
                    response = self.engines[name].infer(request, deadline)
                except SealgateError as refusal:
                    attempt = attempt.after(name, refusal)
                else:
                    return response, self._heard(name, digest, attempt.asked)

    def ask_all(
        self,
        digest: str,
        messages: VersionMessages,
        burst: Mapping[int, RemoteRequest],
        most_rows: int,
    ) -> Iterator[list[tuple[int, Answer]]]:
        """See `EngineCaller`."""
        engines = Engines(self.engines, self.placement, self._heard)
        calls = BurstCalls(engines, digest, messages)
        return calls.answers(burst, self._first_attempt(digest), most_rows)

    def probe(self) -> None:
        """See `RemoteEngine.probe`."""
        for engine in self.engines.values():
            engine.probe()

    def counts(self) -> list[Envelope]:
        """The signed counts of each reachable engine; nothing is checked here."""
        found = []
        for name, engine in self.engines.items():
            try:
                if not engine.behind:
                    found.append(engine.counts())
            except SealgateError as refusal:
                _log.error("%s does not report its counts: %s", name, refusal)
        return found

    def close(self) -> None:
        self._pool.shutdown()
        for engine in self.engines.values():
            engine.close()

    def _first_attempt(self, digest: str) -> Attempt:
        return Attempt(
            {
                name: engine.measured
                for name, engine in self.engines.items()
                if not engine.behind and digest in engine.measured
            }
            or {name: engine.measured for name, engine in self.engines.items()}
        )

    def _place(self, name: str, digest: str) -> str:
        measured: MeasuredEngine | None = self.engines[name].measured.get(digest)
        return f"{name} on {measured.place}" if measured is not None else name

    def _heard(self, name: str, digest: str, asked: int) -> str:
        """How receipts describe an answer of that engine."""
        place = self._place(name, digest)
        if len(self.engines) == 1 and place in (name, f"{name} on {CPU}"):
            return SEPARATE
        return f"{SEPARATE}; {place}" if asked == 1 else f"{SEPARATE}; {asked} asked: {place}"
