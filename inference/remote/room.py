"""The gateway's end of an engine in another process: a `Loader` whose versions run over there.

The gateway checks every pointer itself and shows it to the engine, which checks it again. What the
engine refuses, the gateway does not follow either. An engine that was away, or began anew, is
`behind` until it has been shown everything once more.
"""

import threading
import time
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import grpc

from inference.admission import Cleared, FileSource, Source
from inference.live import Ready
from inference.remote.door import Door
from inference.remote.load import Load
from inference.remote.service import write_load
from inference.remote.version import RemoteVersion, Terms
from inference.standing import Place, Snapshot
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from sealgate.reasons import Reason, Refusal
from sealgate.remote import reason_of
from sealgate.trust.dsse import Envelope
from sealgate.trust.manifest import Manifest
from sealgate.trust.statements import Pointer, PointerBundle
from sealgate.v1 import engine_pb2
from sealgate.v1.engine_pb2_grpc import EngineServiceStub

# In this time a version is loaded, held against its golden answers and warmed.
_LOAD_SECONDS = 120.0
_ASK_SECONDS = 5.0
_LONGEST_DETAIL = 200
# Where gRPC itself has ended a call.
_BY_STATUS = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_TOO_SHORT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.QUEUE_FULL,
}
# What an engine may say of a request, and callers of the gateway may then hear.
_OF_A_REQUEST = frozenset(
    {
        Reason.BATCH_TOO_LARGE,
        Reason.TENSOR_TEXT,
        Reason.QUEUE_FULL,
        Reason.DEADLINE_TOO_SHORT,
        Reason.VERSION_REVOKED,
        Reason.POLICY_EXPIRED,
        Reason.POINTER_STALE,
        Reason.GRAPH_MISMATCH,
        Reason.OUT_OF_MEMORY,
        Reason.RUN_HUNG,
        Reason.INTERNAL,
    }
)
# What an engine may say of a load, and will not say of the same one when it has recovered.
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

_Request = TypeVar("_Request", contravariant=True)
_Response = TypeVar("_Response", covariant=True)


class _Method(Protocol[_Request, _Response]):
    def __call__(self, request: _Request, *, timeout: float | None) -> _Response: ...


@dataclass(frozen=True, slots=True)
class _Shown:
    """A pointer that the engine was shown, with what covers it, and why it does not follow it."""

    pointer: str
    freshness: str
    policy: str
    refusal: Refusal | None = None


class EngineRoom:
    """Shows an engine what is live, and asks it. Safe for many threads."""

    def __init__(self, door: Door) -> None:
        """Raises: ConfigError where the door's files cannot be used."""
        self._door = door
        self._channel = door.open()
        self._inference = GRPCInferenceServiceStub(self._channel)
        self._engine = EngineServiceStub(self._channel)
        self._shown: dict[Place, _Shown] = {}
        self._behind = threading.Event()
        self._behind.set()

    @property
    def behind(self) -> bool:
        """Whether the engine must be shown everything again."""
        return self._behind.is_set()

    def show(self, snapshot: Snapshot, source: Source) -> None:
        """Show the engine every pointer of the registry's state, before it is followed here.

        Raises nothing for an engine that is away or refuses: `load` says so, and `behind`.
        """
        before = {} if self.behind else self._shown
        self._behind.clear()
        freshness = snapshot.freshness.payload_digest if snapshot.freshness else ""
        away = self._away()
        shown = {}
        for place, bundle in sorted(snapshot.bundles.items()):
            policy = snapshot.policies[-1].payload_digest
            item = _Shown(bundle.pointer.payload_digest, freshness, policy)
            if before.get(place) != item:
                refusal = away or self._show(place, bundle, snapshot, source)
                item = replace(item, refusal=refusal)
            shown[place] = item
        self._shown = shown

    def load(self, cleared: Cleared, source: FileSource, loaded: Ready | None) -> Ready:
        """See `Loader`. Raises: ENGINE_UNAVAILABLE; why the engine does not follow; as
        `Terms.read`.
        """
        pointer = cleared.pointer
        shown = self._shown.get((pointer.model, pointer.alias))
        if shown is None or shown.pointer != cleared.pointer_digest:
            raise Refusal(Reason.ENGINE_UNAVAILABLE, "it was not shown this pointer")
        if shown.refusal is not None:
            raise Refusal(shown.refusal.reason, f"at the engine: {shown.refusal.detail}")
        if isinstance(loaded, RemoteVersion) and loaded.is_of(pointer.model, pointer.version):
            return loaded
        terms = Terms.read(cleared.manifest, source)
        return RemoteVersion(self, pointer.model, pointer.version, pointer.digest, terms)

    def infer(
        self, request: oip.ModelInferRequest, deadline: float | None
    ) -> oip.ModelInferResponse:
        """See `Line.infer`; `deadline` is in seconds of `time.monotonic`."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise Refusal(Reason.DEADLINE_TOO_SHORT, "before its run")
        try:
            if self.behind:
                self._door.check()
            return _call(self._inference.ModelInfer, request, left)
        except Refusal as refusal:
            if refusal.reason in _OF_A_REQUEST:
                raise
            # It is away, is draining, or does not have what it was shown.
            self._behind.set()
            raise Refusal(Reason.ENGINE_UNAVAILABLE, str(refusal)) from refusal

    def probe(self) -> None:
        """Notice an engine that went, or began anew, while nobody asked it anything."""
        try:
            request = oip.ServerReadyRequest()
            self._door.check()
            ready = _call(self._inference.ServerReady, request, _ASK_SECONDS).ready
        except Refusal:
            ready = False
        if not ready and any(item.refusal is None for item in self._shown.values()):
            self._behind.set()

    def counts(self) -> Envelope:
        """What the engine says that it ran, signed; nothing is checked here.

        Raises: ENGINE_UNAVAILABLE, DEADLINE_TOO_SHORT, QUEUE_FULL, DOCUMENT_MALFORMED.
        """
        self._door.check()
        request = engine_pb2.GetCountsRequest()
        return Envelope.decode(_call(self._engine.GetCounts, request, _ASK_SECONDS).envelope)

    def close(self) -> None:
        self._channel.close()

    def _away(self) -> Refusal | None:
        """Why nothing can be shown, if so. An engine that hangs must not be waited for at length,
        pointer by pointer.
        """
        try:
            self._door.check()
            _call(self._inference.ServerLive, oip.ServerLiveRequest(), _ASK_SECONDS)
        except Refusal as refusal:
            self._behind.set()
            return Refusal(Reason.ENGINE_UNAVAILABLE, str(refusal))
        return None

    def _show(
        self, place: Place, bundle: PointerBundle, snapshot: Snapshot, source: Source
    ) -> Refusal | None:
        """Show one pointer; why it is not followed, if so."""
        try:
            request = write_load(_load(place, bundle, snapshot, source))
            _call(self._inference.RepositoryModelLoad, request, _LOAD_SECONDS)
        except Refusal as refusal:
            if refusal.reason is Reason.REGISTRY_UNAVAILABLE:
                self._behind.set()
            if refusal.reason not in _PASSING:
                return refusal
            self._behind.set()
            return Refusal(Reason.ENGINE_UNAVAILABLE, str(refusal))
        return None


def _load(place: Place, bundle: PointerBundle, snapshot: Snapshot, source: Source) -> Load:
    if snapshot.freshness is None:
        raise Refusal(Reason.POINTER_STALE, "there is no statement of freshness")
    signed = source.signed_manifest(Pointer.decode(bundle.pointer.payload).digest)
    return Load(
        place=place,
        policies=tuple(snapshot.policies),
        freshness=snapshot.freshness,
        pointer=bundle,
        manifest=Manifest.decode(signed.manifest),
        signature=signed.signature,
    )


def _call(
    method: _Method[_Request, _Response], request: _Request, seconds: float | None
) -> _Response:
    """The response. Raises the refusal that came instead, or ENGINE_UNAVAILABLE."""
    try:
        return method(request, timeout=seconds)
    except grpc.RpcError as error:
        reason = reason_of(error)
        if reason is None:
            reason = _BY_STATUS.get(error.code(), Reason.ENGINE_UNAVAILABLE)
        raise Refusal(reason, (error.details() or "")[:_LONGEST_DETAIL]) from error
    except ValueError as error:
        raise Refusal(Reason.ENGINE_UNAVAILABLE, "the channel is closed") from error
