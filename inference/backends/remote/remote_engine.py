"""The gateway's end of one engine in another process. `engine_pool` combines several.

The gateway verifies every pointer and shows it to the engine, which verifies it again. An engine
that was unreachable or has restarted is `behind` until it has been shown everything again.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from inference.backends.remote.endpoint import Endpoint, EngineConnection
from inference.backends.remote.messages import call
from inference.backends.remote.placement import MeasuredEngine
from inference.batching import BatchCosts
from inference.engine import Place, Source, UntrustedSnapshot
from inference.server.load_request import LoadRequest
from inference.server.services import write_load
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.dsse import Envelope
from sealgate.trust.statements import Manifest, Pointer, PointerBundle
from sealgate.v1 import engine_pb2

_log = logging.getLogger(__name__)

# In this time a version is loaded, held against its golden answers and warmed.
_LOAD_SECONDS = 120.0
ASK_SECONDS = 5.0
# The network delay of an engine is the shortest of this many empty calls.
_WAYS = 3
_LONGEST_PLACE = 100
# Refusals of a load that end when the engine has recovered.
_PASSING = frozenset(
    {
        Reason.QUEUE_FULL,
        Reason.DEADLINE_TOO_SHORT,
        Reason.DRAINING,
        Reason.ENGINE_UNAVAILABLE,
        Reason.SOCKET_EXPOSED,
        Reason.CERTIFICATE_UNPINNED,
    }
)


@dataclass(frozen=True, slots=True)
class _ShownPointer:
    """A pointer that the engine was shown, the statements that cover it, and its objection."""

    pointer: str
    freshness: str
    policy: str
    refusal: SealgateError | None = None


class RemoteEngine(EngineConnection):
    """Shows pointers to one engine and sends it requests. Safe for many threads."""

    def __init__(self, endpoint: Endpoint, name: str = "engine", *, costs: bool = True) -> None:
        """`name` is the gateway's name for it; `costs` says whether to ask for the costs of
        batches.

        Raises: ConfigError if the endpoint's files cannot be used.
        """
        self.name = name
        self._costs = costs
        super().__init__(endpoint)
        self._shown: dict[Place, _ShownPointer] = {}
        self._measured: dict[str, MeasuredEngine] = {}

    @property
    def measured(self) -> Mapping[str, MeasuredEngine]:
        """The engine's measurements of versions that it follows or followed last, by digest."""
        return self._measured

    def refused(self) -> dict[Place, SealgateError]:
        """The pointers shown last that the engine does not follow, and why."""
        shown = self._shown.items()
        return {place: item.refusal for place, item in shown if item.refusal is not None}

    def show(self, snapshot: UntrustedSnapshot, source: Source) -> None:
        """Show the engine every pointer of the registry's state, before the gateway follows it.

        Raises nothing if the engine is unreachable or refuses: see `refused` and `behind`.
        """
        before = {} if self.behind else self._shown
        if self.behind:
            # Until it has been shown everything it is not asked while another is there: what it
            # does not have yet would make it behind again.
            self._measured = {}
            self.takes_bursts = True
        measured = dict(self._measured)
        self._behind.clear()
        freshness = snapshot.freshness.payload_digest if snapshot.freshness else ""
        away = self._away()
        shown = {}
        for place, bundle in sorted(snapshot.bundles.items()):
            policy = snapshot.policies[-1].payload_digest
            item = _ShownPointer(bundle.pointer.payload_digest, freshness, policy)
            if before.get(place) != item:
                refusal = away or self._show(place, bundle, snapshot, source)
                item = replace(item, refusal=refusal)
                if refusal is None and self._costs:
                    self._measure(Pointer.decode(bundle.pointer.payload), measured)
            shown[place] = item
        self._shown, self._measured = shown, measured

    def check_follows(self, pointer: Pointer, digest: str) -> None:
        """Check that the engine follows the pointer of that digest. Raises: ENGINE_UNAVAILABLE, or
        why it does not follow.
        """
        shown = self._shown.get((pointer.model, pointer.alias))
        if shown is None or shown.pointer != digest:
            raise SealgateError(Reason.ENGINE_UNAVAILABLE, "the engine was not shown this pointer")
        if shown.refusal is not None:
            raise SealgateError(shown.refusal.reason, f"at {self.name}: {shown.refusal.detail}")

    def probe(self) -> None:
        """Notice an engine that stopped or restarted while idle, and changed certificates."""
        self._renew()
        try:
            request = oip.ServerReadyRequest()
            self._endpoint.check()
            ready = call(self._inference.ServerReady, request, ASK_SECONDS).ready
        except SealgateError:
            ready = False
        if not ready and any(item.refusal is None for item in self._shown.values()):
            self._behind.set()

    def counts(self) -> Envelope:
        """The engine's signed counts; nothing is checked here.

        Raises: ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, QUEUE_FULL, DOCUMENT_MALFORMED.
        """
        self._endpoint.check()
        request = engine_pb2.GetCountsRequest()
        return Envelope.decode(call(self._engine.GetCounts, request, ASK_SECONDS).envelope)

    def _away(self) -> SealgateError | None:
        """Why nothing can be shown, if so. An engine that hangs must not be waited for at length,
        pointer by pointer.
        """
        self._renew()
        try:
            self._endpoint.check()
            call(self._inference.ServerLive, oip.ServerLiveRequest(), ASK_SECONDS)
        except SealgateError as refusal:
            self._behind.set()
            return SealgateError(Reason.ENGINE_UNAVAILABLE, str(refusal))
        return None

    def _measure(self, pointer: Pointer, measured: dict[str, MeasuredEngine]) -> None:
        """Ask what batches of the version cost there, unless that is known. An engine that does not
        say is asked for an answer all the same, after the others.
        """
        if pointer.digest in measured:
            return
        request = engine_pb2.GetCostsRequest(
            model=pointer.model, version=str(pointer.version), digest=pointer.digest
        )
        ways = []
        try:
            found = call(self._engine.GetCosts, request, _LOAD_SECONDS)
            costs = BatchCosts(
                tuple((each.rows, each.seconds) for each in found.batches), found.lanes
            )
            if not found.place.isprintable():
                # Entries will say it, and people read them.
                raise ValueError("what runs it there is not text that can be shown")
            for _ in range(_WAYS):
                begun = time.monotonic()
                call(self._inference.ServerLive, oip.ServerLiveRequest(), ASK_SECONDS)
                ways.append(time.monotonic() - begun)
        except (SealgateError, ValueError) as error:
            _log.warning("%s does not report the costs of %s: %s", self.name, pointer.model, error)
            return
        measured[pointer.digest] = MeasuredEngine(costs, found.place[:_LONGEST_PLACE], min(ways))

    def _show(
        self, place: Place, bundle: PointerBundle, snapshot: UntrustedSnapshot, source: Source
    ) -> SealgateError | None:
        """Show one pointer; why it is not followed, if so."""
        try:
            request = write_load(_load(place, bundle, snapshot, source))
            call(self._inference.RepositoryModelLoad, request, _LOAD_SECONDS)
        except SealgateError as refusal:
            if refusal.reason is Reason.REGISTRY_UNAVAILABLE:
                self._behind.set()
            if refusal.reason not in _PASSING:
                return refusal
            self._behind.set()
            return SealgateError(Reason.ENGINE_UNAVAILABLE, str(refusal))
        return None


def _load(
    place: Place, bundle: PointerBundle, snapshot: UntrustedSnapshot, source: Source
) -> LoadRequest:
    if snapshot.freshness is None:
        raise SealgateError(Reason.POINTER_STALE, "there is no statement of freshness")
    signed = source.signed_manifest(Pointer.decode(bundle.pointer.payload).digest)
    return LoadRequest(
        place=place,
        policies=tuple(snapshot.policies),
        freshness=snapshot.freshness,
        pointer=bundle,
        manifest=Manifest.decode(signed.manifest),
        signature=signed.signature,
    )
