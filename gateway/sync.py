"""Keeps the engine in sync with the registry: applies its changes as they are signalled.

It also renews the freshness statement before that expires. At intervals it anchors the answer log
in the registry's log, together with the counts of anonymous refusals, and those of an engine that
runs in a process of its own.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from gateway import security_events
from gateway.recording import GatewayStore
from gateway.security_events import tampering
from inference.engine import Engine, SignedManifest, Source, UntrustedSnapshot
from registry.state import records
from registry.storage.artifacts import ArtifactStore
from sealgate.reasons import Reason, SealgateError
from sealgate.steady_clock import now
from sealgate.trust.dsse import Envelope
from sealgate.trust.fields import check_name
from sealgate.trust.statements import Manifest, PointerBundle, review_end
from sealgate.trust.times import RENEW_BEFORE, REVIEW_BEFORE, parse_time
from sealgate.trust.transparency import open_checkpoint


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """One snapshot, and the files of the versions that it names. Nothing in it is trusted."""

    policies: tuple[Envelope, ...]
    bundles: Mapping[tuple[str, str], PointerBundle]
    freshness: Envelope
    manifests: Mapping[str, SignedManifest]
    sizes: Mapping[str, int]
    artifacts: ArtifactStore

    @classmethod
    def of(cls, snapshot: records.Snapshot, artifacts: ArtifactStore) -> "RegistrySnapshot":
        """Raises: DOCUMENT_MALFORMED where the database holds what nobody signed."""
        manifests, sizes = {}, {}
        for live in snapshot.live:
            for name in (live.model, live.alias):
                check_name(name, Reason.DOCUMENT_MALFORMED)
            manifest = Manifest.decode(live.manifest)
            manifests[manifest.digest] = SignedManifest(live.manifest, live.signature)
            sizes.update({entry.digest: entry.size for entry in manifest.files})
        return cls(
            tuple(Envelope.decode(envelope) for envelope in snapshot.policies),
            {(live.model, live.alias): PointerBundle.decode(live.bundle) for live in snapshot.live},
            Envelope.decode(snapshot.freshness),
            manifests,
            sizes,
            artifacts,
        )

    def signed_manifest(self, digest: str) -> SignedManifest:
        """The manifest of the version of that digest. Raises: VERSION_ALTERED."""
        if digest not in self.manifests:
            raise SealgateError(Reason.VERSION_ALTERED, f"no manifest has the digest {digest}")
        return self.manifests[digest]

    def read(self, digest: str) -> bytes:
        """A file's bytes. Raises: VERSION_ALTERED, REGISTRY_UNAVAILABLE."""
        if digest not in self.sizes:
            raise SealgateError(Reason.VERSION_ALTERED, f"no manifest names {digest}")
        return self.artifacts.read(digest, self.sizes[digest])


_log = logging.getLogger(__name__)

# One wait lasts this long at most, so that stopping takes no longer.
_WAIT_SECONDS = 0.5
# A registry that failed is asked again after this long.
_RETRY_SECONDS = 1.0
_UPKEEP_SECONDS = 5.0
# An expired policy is told of this often.
_REMINDER_SECONDS = 600.0
# One that ends soon, this often.
_WARNING_SECONDS = 86_400.0
_PASSING = frozenset({Reason.REGISTRY_UNAVAILABLE, Reason.ENGINE_UNAVAILABLE})
# In whose name the registry's log holds what the gateway itself reports.
_SERVICE = "gateway"


class RemoteEngines(Protocol):
    """Where versions run, if that is in other processes; see `EnginePool`."""

    @property
    def behind(self) -> bool: ...

    def show(self, snapshot: UntrustedSnapshot, source: Source) -> None: ...

    def probe(self) -> None: ...

    def counts(self) -> list[Envelope]: ...


class RegistrySync:
    """A thread that follows the registry for an engine."""

    def __init__(
        self,
        store: GatewayStore,
        engine: Engine,
        counted_refusals: Counter[str],
        anchor_every: float,
        remote_engines: RemoteEngines | None = None,
        report: Callable[[], None] = lambda: None,
    ) -> None:
        """`remote_engines` is where versions run, if that is in other processes. `report` tells the
        registry what else was found.
        """
        self._store = store
        self._registry, self._answers = store.registry, store.answers
        self.changes = self._registry.changes()
        self._engine = engine
        self._remote_engines = remote_engines
        self._counted_refusals = counted_refusals
        self._anchor_every = anchor_every
        self._report = report
        self._anchored_at = time.monotonic()
        self._is_anchored = False
        self._remind_at = self._warn_at = 0.0
        self._reported: Counter[str] = Counter()
        # Aliases whose version before is not loaded: they have not moved while this gateway ran.
        self._cold: list[tuple[str, str]] = []
        # The last state that was applied; None if applying it must be retried.
        self.token: object = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registry-sync", daemon=True)

    def start(self) -> None:
        """Bring the engine up to date once, then go on in a thread of its own."""
        try:
            self.upkeep()
        except SealgateError as refusal:
            if refusal.reason is not Reason.POLICY_EXPIRED:
                raise
            _log.error("nothing answers until a new policy is accepted: %s", refusal)
        self.follow()
        if self._remote_engines is None:
            self._cold = sorted(self._engine.live(), reverse=True)
        self._thread.start()

    def stop(self) -> None:
        """Anchor what the answer log holds, and end."""
        self._stopping.set()
        self.changes.wake()
        if self._thread.is_alive():
            self._thread.join()
        self.changes.close()
        self._guarded(self.anchor)
        self._guarded(self.count)
        self._guarded(self._store.remember)

    @property
    def _behind(self) -> bool:
        """Whether the newest state must be followed again though nothing has changed."""
        return self.token is None or (
            self._remote_engines is not None and self._remote_engines.behind
        )

    def _run(self) -> None:
        upkeep_at = time.monotonic() + _UPKEEP_SECONDS
        while not self._stopping.is_set():
            behind = self._behind
            if behind:
                self._stopping.wait(_RETRY_SECONDS)
            patience = 0.0 if self._cold else _WAIT_SECONDS
            if (self.changes.wait(patience) or behind) and not self._guarded(self.follow):
                self.token = None
            if self._cold:
                self._guarded(self._warm)
            if time.monotonic() >= upkeep_at:
                self._guarded(self.upkeep)
                upkeep_at = time.monotonic() + _UPKEEP_SECONDS

    def _guarded(self, step: Callable[[], object]) -> bool:
        """Whether the step went well. If it did not, the engine goes on answering from its current
        state.

        This thread must outlive every error: without it, no revocation would arrive any more.
        """
        try:
            step()
        except SealgateError as refusal:
            _log.error("following the registry: %s", refusal)
            return False
        except Exception:
            _log.exception("following the registry")
            return False
        return True

    def follow(self) -> None:
        token = self._registry.change_token()
        if token == self.token and not self._behind:
            return
        self._guarded(self._rotate)
        snapshot = RegistrySnapshot.of(self._registry.snapshot(), self._registry.artifacts)
        if self._remote_engines is not None:
            # Revoked versions end here first, however long the engine takes.
            self._engine.update(snapshot, snapshot)
            self._remote_engines.show(snapshot, snapshot)
        update = self._engine.update(snapshot, snapshot)
        reasons = {rejected.reason for rejected in update.rejected}
        passing = update.refused is not None or not reasons.isdisjoint(_PASSING)
        self.token = None if passing else token
        # Only now: a move reaches callers the sooner, and what they are answered by the engine has
        # remembered itself.
        self._store.remember()
        if update.refused is not None:
            _log.error("the registry's state is refused: %s", update.refused)
            security_events.report(tampering(update.refused.reason))
        for rejected in update.rejected:
            _log.error(
                "%s/%s is not loaded: %s %s",
                rejected.model,
                rejected.alias,
                rejected.reason.name,
                rejected.detail,
            )
            security_events.report(tampering(rejected.reason, rejected.model))
        for model, alias in update.loaded:
            live = self._engine.live()[model, alias]
            _log.info("%s/%s is version %d, %s", model, alias, live.version, live.digest)

    def _rotate(self) -> None:
        """Hand over logs whose key the policy replaces."""
        for origin in self._store.follow_keys():
            _log.info("%s goes on under its next key", origin)

    def _warm(self) -> None:
        """Loads what one of the aliases would return to, so that a rollback finds it loaded."""
        place = self._cold.pop()
        before = RegistrySnapshot.of(
            self._registry.snapshot(earlier=True), self._registry.artifacts
        )
        try:
            self._engine.warm(place, before, before)
        except SealgateError as refusal:
            _log.info("%s/%s would have to load what it returns to: %s", *place, refusal)

    def upkeep(self) -> None:
        # Where its disk is full, statements are renewed all the same.
        self._guarded(self._store.remember)
        self._remind()
        if self._remote_engines is not None:
            # Statements are renewed and logs anchored, whatever engines answer.
            self._guarded(self._remote_engines.probe)
        self._registry.refresh()
        self._guarded(self._report)
        if time.monotonic() - self._anchored_at >= self._anchor_every:
            self.anchor()
            self.count()
        elif not self._is_anchored and self._answers.size:
            # A log that nobody anchored can be replaced unseen, so the first anchor does not wait.
            self._guarded(self.anchor)

    def _remind(self) -> None:
        """Says now and then that the policy ends soon, or has expired, while its grace lasts and
        after it.
        """
        if self._engine.expired and time.monotonic() >= self._remind_at:
            self._remind_at = time.monotonic() + _REMINDER_SECONDS
            _log.error(
                "the policy expired at %s: accept another (sealgate renew)", self._engine.expired
            )
        elif time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + _WARNING_SECONDS
            end = self._registry.policies.chain().newest.expires
            left = parse_time(end) - now()
            if timedelta() < left < RENEW_BEFORE:
                _log.warning("the policy ends in %d days, at %s: sealgate renew", left.days, end)
            self._remind_of_reviews()

    def _remind_of_reviews(self) -> None:
        policy, soon = self._engine.policy, now() + REVIEW_BEFORE
        if policy is None:
            return
        for (model, alias), live in self._engine.live().items():
            end = review_end(live.bundle, policy)
            if end is not None and end < soon:
                _log.warning("%s/%s: approvals count until %s: review it", model, alias, end)

    def count(self) -> None:
        """Keeps what engines of their own processes say that they ran."""
        add = self._registry.engine_counts.add
        for counts in self._remote_engines.counts() if self._remote_engines is not None else ():
            # The counts of one may be refused; those of the others are kept all the same.
            self._guarded(partial(add, _SERVICE, counts))

    def anchor(self) -> None:
        """Anchors the answer log where it has grown, and reports the refusals since last time. The
        first anchor after a hand-over tells of it, for both keys have signed it.
        """
        self._anchored_at = time.monotonic()
        note, origin = self._answers.note, self._answers.origin
        size = open_checkpoint(note, self._answers.reader.vkey).size
        before = self._registry.anchors.newest(origin)
        old = before.size if before is not None else 0
        if size > old:
            proof = self._answers.reader.consistency(old, size) if old else ()
            self._registry.anchors.add(_SERVICE, note, proof)
            self._store.end_hand_over()
        self._is_anchored = size > 0
        # A copy, made in one step: callers go on being refused meanwhile.
        refusals = Counter(dict(self._counted_refusals)) - self._reported
        if refusals:
            self._registry.refusals.count(_SERVICE, origin, refusals)
            self._reported += refusals
