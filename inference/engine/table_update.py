"""Builds the next live table from one registry update, and defines the `VersionLoader` port."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from inference.engine.live_table import ClosedAlias, LiveTable, LiveVersion, ServableVersion
from inference.engine.trust_state import Place, TrustState
from inference.engine.version_verifier import (
    FileSource,
    Source,
    VerifiedPointer,
    verify_current_pointer,
    verify_past_pointer,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.statements import PointerBundle, Proposal

# Reasons that block a new pointer but leave the pointer that is live valid.
_NOT_AGAINST_THE_POINTER = frozenset(
    {Reason.POINTER_STALE, Reason.REGISTRY_UNAVAILABLE, Reason.ENGINE_UNAVAILABLE}
)


@dataclass(frozen=True, slots=True)
class RejectedPointer:
    """An alias whose newest pointer is not followed."""

    model: str
    alias: str
    reason: Reason
    detail: str


class VersionLoader(Protocol):
    """Makes versions ready to answer."""

    def load(
        self, cleared: VerifiedPointer, source: FileSource, loaded: ServableVersion | None
    ) -> ServableVersion:
        """The version of a verified pointer that is not revoked.

        `loaded` is the same version if an alias names or named it; a loader may return it
        unchanged. None of the version's files has been read yet: whoever reads one from `source`
        must check it against `cleared.manifest`, as `read_files` does. Raises SealgateError.
        """
        ...


def _ended(live: LiveVersion, trust: TrustState) -> Reason | None:
    """Why a version may answer no longer, whatever its pointer says; None where it may."""
    if trust.seen.is_revoked(live.model, live.digest):
        return Reason.VERSION_REVOKED
    if live.bundle.proposal.payload_digest in trust.seen.rejected:
        return Reason.PROPOSAL_REJECTED
    return None


class TableUpdate:
    """One update of the live table: what each alias answers with afterwards."""

    def __init__(
        self,
        trust: TrustState,
        table: LiveTable,
        previous: Mapping[Place, str],
        ready: Mapping[str, ServableVersion],
        loader: VersionLoader,
    ) -> None:
        self._trust = trust
        self._until = trust.until
        self._before = table
        self._ready = dict(ready)
        self._loader = loader
        self.seen = trust.seen
        self.previous = dict(previous)
        ended = {
            place: reason
            for place, live in table.lives.items()
            if (reason := _ended(live, trust)) is not None
        }
        self.lives = {p: live for p, live in table.lives.items() if p not in ended}
        self.closed = dict(table.closed) | {
            place: ClosedAlias(table.lives[place].version, reason)
            for place, reason in ended.items()
        }
        self.ended = frozenset(ended)
        self.loaded: list[Place] = []
        self.rejected: list[RejectedPointer] = []

    def named(self) -> list[Place]:
        """The places that the freshness statement names."""
        places = (name.partition("/") for name, _, _ in self._trust.freshness.pointers)
        return [(model, alias) for model, _, alias in places]

    def follow(self, place: Place, bundle: PointerBundle | None, source: Source) -> None:
        """Follow the newest pointer of a place, or record why not."""
        try:
            if bundle is None:
                raise SealgateError(
                    Reason.POINTER_STALE, "a pointer that the statement names is missing"
                )
            if not self._extend(place, bundle):
                self._move(place, bundle, source)
        except Exception as error:  # whatever a version's files do, the other aliases go on
            refusal = (
                error
                if isinstance(error, SealgateError)
                else SealgateError(Reason.INTERNAL, repr(error))
            )
            self.rejected.append(RejectedPointer(*place, refusal.reason, refusal.detail))
            live = self.lives.get(place)
            if live and not self._still_holds(live, bundle, refusal.reason, source):
                del self.lives[place]
            before = self.closed.get(place)
            if before is None or before.reason is Reason.ENGINE_UNAVAILABLE:
                away = refusal.reason is Reason.ENGINE_UNAVAILABLE
                self.closed[place] = ClosedAlias(
                    0, refusal.reason if away else Reason.VERSION_NOT_LIVE
                )

    def hold(self, source: Source) -> None:
        """Take back every move: an alias keeps the version that it named before, for as long as
        that was covered, unless the version ended or holds no more under the newest policy.
        """
        before, after = self._before, self.lives
        self.lives, self.loaded = {}, []
        for place, live in before.lives.items():
            stands = place in after and _ended(live, self._trust) is None
            if stands and self._still_holds(live, None, Reason.POINTER_STALE, source):
                self.lives.setdefault(place, live)
            self.closed.setdefault(place, ClosedAlias(0, Reason.VERSION_NOT_LIVE))

    def warm(self, place: Place, earlier: PointerBundle, source: Source) -> None:
        """Load the version of a previous pointer; nobody is answered by it. Raises
        SealgateError.
        """
        if place not in self.lives or place in self.previous:
            return
        cleared = verify_past_pointer(place, earlier, self._trust, self.seen, source)
        cleared.check_not_revoked()
        digest = cleared.pointer.digest
        self._ready[digest] = self._loader.load(cleared, source, self._ready.get(digest))
        self.previous[place] = digest

    def kept(self) -> dict[str, ServableVersion]:
        """The loaded versions that an alias names or named last."""
        named = [((live.model, live.alias), live.digest) for live in self.lives.values()]
        needed = {
            digest
            for (model, _), digest in (*named, *self.previous.items())
            if not self.seen.is_revoked(model, digest)
        }
        return {digest: ready for digest, ready in self._ready.items() if digest in needed}

    def _extend(self, place: Place, bundle: PointerBundle) -> bool:
        """Cover an unmoved pointer for longer. Its verification holds while the policy does."""
        live, digest = self.lives.get(place), bundle.pointer.payload_digest
        policy = self._trust.current.digest
        named = self._trust.freshness.pointer(*place)
        if live is None or live.pointer != digest or live.policy != policy or named is None:
            return False
        if named[1] != digest:
            return False
        self.lives[place] = replace(live, until=self._until)
        return True

    def _still_holds(
        self, live: LiveVersion, newest: PointerBundle | None, reason: Reason, source: Source
    ) -> bool:
        """Whether the live version may continue although the newest pointer is refused for
        `reason`.

        Under a newer policy the live pointer may no longer hold, newest or not.
        """
        same = newest is not None and live.pointer == newest.pointer.payload_digest
        if same and reason not in _NOT_AGAINST_THE_POINTER:
            return False
        current = self._trust.current.digest
        if live.policy == current:
            return True
        place = live.model, live.alias
        try:
            verify_past_pointer(place, live.bundle, self._trust, self.seen, source)
        except SealgateError as refusal:
            return refusal.reason in _NOT_AGAINST_THE_POINTER
        self.lives[place] = replace(live, policy=current)
        return True

    def _move(self, place: Place, bundle: PointerBundle, source: Source) -> None:
        cleared = verify_current_pointer(place, bundle, self._trust, self.seen, source)
        # An authentic pointer is remembered although its version may fail to load.
        self.seen = cleared.seen
        pointer = cleared.pointer
        try:
            cleared.check_not_revoked()
        except SealgateError as refusal:
            self.lives.pop(place, None)
            self.closed[place] = ClosedAlias(pointer.version, refusal.reason)
            raise
        ready = self._loader.load(cleared, source, self._ready.get(pointer.digest))
        self._ready[pointer.digest] = ready
        before = self.lives.get(place)
        if before is not None and before.digest != pointer.digest:
            self.previous[place] = before.digest
        self.lives[place] = LiveVersion(
            model=pointer.model,
            alias=pointer.alias,
            version=pointer.version,
            digest=pointer.digest,
            sequence=pointer.sequence,
            pointer=cleared.pointer_digest,
            policy=self._trust.current.digest,
            until=self._until,
            ready=ready,
            bundle=bundle,
            share=Proposal.decode(bundle.proposal.payload).share,
        )
        if before is None or before.pointer != cleared.pointer_digest:
            self.loaded.append(place)
