"""Looks now and then at what no log tells: expiry, the logs themselves, witnesses, sessions.

1. Certificates of the gateways and our own, and the policy: each is told of once for each number of
   days that `[checks] days` has.
2. Every log only grows: its newest checkpoint extends the one that was seen last.
3. No witness knows of another log, as the gateway itself says.
4. Callers whose sessions look like an attack, as each gateway says.

Each finding is remembered with its event, so that it is told once.
"""

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from sealgate.events.cloud_events import CloudEvent
from sealgate.events.config import EventCheckSettings
from sealgate.events.store import EventStore
from sealgate.health.check import CertificateLimits, certificates, in_time
from sealgate.periodic import PeriodicThread
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile, ProfileError, connect
from sealgate.remote.calls import list_all
from sealgate.remote.errors import GatewayRefusal, refusal_of
from sealgate.signed_version import policy_history
from sealgate.trust.policy import Policy
from sealgate.trust.times import format_time, parse_time
from sealgate.trust.transparency import Checkpoint, merkle, note, open_checkpoint, origin_of
from sealgate.v1 import log_pb2 as logs
from sealgate.v1.audit_pb2 import FlaggedSession, ListFlaggedSessionsRequest
from sealgate.v1.audit_pb2_grpc import AuditServiceStub
from sealgate.v1.log_pb2_grpc import LogServiceStub
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_log = logging.getLogger(__name__)
_CALL_SECONDS = 10.0

Keep = Callable[[Sequence[CloudEvent], Sequence[tuple[str, str]]], None]


@dataclass(slots=True)
class _Found:
    """The result of one check: events, and the records to be kept with them."""

    events: list[CloudEvent] = field(default_factory=list)
    remembered: list[tuple[str, str]] = field(default_factory=list)


class EventChecks:
    """The thread. `failing` says of each look that failed why."""

    def __init__(
        self,
        profile: Path,
        store: EventStore,
        keep: Keep,
        settings: EventCheckSettings,
        *,
        from_beginning: bool,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._profile = profile
        self._store = store
        self._keep = keep
        self._settings = settings
        self._from_beginning = from_beginning
        self._clock = clock
        self._thread = PeriodicThread("events-checks", settings.every, self.look, at_once=True)
        self.failing: dict[str, str] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._thread.stop()

    def look(self) -> None:
        """Look at everything once."""
        try:
            person = Profile.read(self._profile)
        except ProfileError as error:
            self._fail("profile", error)
            return
        endpoints = (person.endpoint, *self._settings.gateways)
        # The profile can be read again, and may name another gateway.
        self.failing = {each: why for each, why in self.failing.items() if each in endpoints}
        for endpoint in endpoints:
            try:
                self._look_at(replace(person, endpoint=endpoint), own=endpoint == person.endpoint)
                self.failing.pop(endpoint, None)
            except grpc.RpcError as error:
                self._fail(endpoint, refusal_of(error))
            except (SealgateError, OSError, sqlite3.Error) as error:
                self._fail(endpoint, error)
            except Exception as error:
                _log.exception("looking at %s", endpoint)
                self._fail(endpoint, error)

    def _fail(self, subject: str, error: Exception) -> None:
        if self.failing.get(subject) != str(error):
            _log.error("%s cannot be looked at: %s", subject, error)
        self.failing[subject] = str(error)

    def _look_at(self, person: Profile, *, own: bool) -> None:
        found = _Found()
        with connect(person) as untimed:
            channel = in_time(untimed, _CALL_SECONDS)
            roots = person.pinned_roots(), person.root_threshold
            policy = policy_history(RegistryServiceStub(channel), *roots)[-1]
            self._certificates(person, found, own=own)
            if own:
                source = origin_of(policy.registry_log)
                self._expiry(found, "policy", source, "policy", parse_time(policy.expires))
            self._logs(LogServiceStub(channel), person.endpoint, policy, found)
            self._sessions(AuditServiceStub(channel), person.endpoint, found)
        self._keep(found.events, found.remembered)

    # 1.
    def _certificates(self, person: Profile, found: _Found, *, own: bool) -> None:
        source = f"gateways/{person.endpoint}"
        for finding in certificates(person, CertificateLimits(self._clock(), 0)):
            end = datetime.fromtimestamp(finding.numbers["end_timestamp_seconds"], UTC)
            if finding.subject == "gateway":
                subject = f"certificates/{person.endpoint}"
                self._expiry(found, "certificate", source, subject, end)
            elif own:
                subject = f"certificates/people/{person.name}"
                self._expiry(found, "certificate", source, subject, end)

    def _expiry(self, found: _Found, what: str, source: str, subject: str, end: datetime) -> None:
        left = end - self._clock()
        passed = [days for days in self._settings.days if left <= timedelta(days=days)]
        if not passed:
            return
        days = max(0, left // timedelta(days=1))
        detail = f"{days} days left" if left > timedelta(0) else "it has expired"
        data = {"expires": format_time(end), "detail": detail}
        id_ = f"expiring-{_digest(subject, data['expires'], str(min(passed)))}"
        self._tell_once(found, id_, source, f"{what}.expiring", subject, **data)

    # 2.
    def _logs(self, stub: LogServiceStub, endpoint: str, policy: Policy, found: _Found) -> None:
        for origin in list_all(stub.ListLogs, logs.ListLogsRequest(), "origins"):
            told = stub.GetCheckpoint(logs.GetCheckpointRequest(origin=origin))
            self._witnesses(endpoint, origin, told.conflict, found)
            name = f"checkpoint of {origin}"
            before, seen = self._store.recall(name), told.note
            try:
                newest = open_checkpoint(told.note, policy.log_key(origin))
                if before is not None:
                    _check_grown(stub, _signed(before), newest)
            except SealgateError as refusal:
                if isinstance(refusal, GatewayRefusal):
                    # It is asked again for a proof that the log extends what was seen.
                    seen = before or ""
                id_ = f"log-{_digest(origin, before or '', seen)}"
                self._tell_once(
                    found, id_, origin, "log.inconsistent", f"logs/{origin}", detail=str(refusal)
                )
            found.remembered.append((name, seen))

    # 3.
    def _witnesses(self, endpoint: str, origin: str, conflict: str, found: _Found) -> None:
        """Told when it begins; what it says may grow with the log."""
        name = f"disagreement on {origin} at {endpoint}"
        before = self._store.recall(name) or ""
        if bool(conflict) == bool(before):
            return
        found.remembered.append((name, conflict))
        if conflict:
            now = format_time(self._clock())
            id_ = f"witness-{_digest(endpoint, origin, conflict, now)}"
            data = {"detail": conflict, "gateway": endpoint}
            subject = f"logs/{origin}"
            found.events.append(
                CloudEvent(id_, origin, "witness.disagrees", subject, now, data=data)
            )

    # 4.
    def _sessions(self, stub: AuditServiceStub, endpoint: str, found: _Found) -> None:
        name = f"sessions of {endpoint}"
        after = self._store.recall(name)
        request = ListFlaggedSessionsRequest(after=after or "")
        sessions = stub.ListFlaggedSessions(request).sessions
        last = sessions[-1].id if sessions else after or ""
        if last != after:
            found.remembered.append((name, last))
        for each in sessions:
            # Behind one address there may be several gateways, each with findings of its own.
            gateway, _, number = each.id.rpartition("-")
            told = f"sessions of start {gateway}"
            if int(number) <= int(self._store.recall(told) or 0):
                continue
            found.remembered.append((told, number))
            if after is not None or self._from_beginning:
                found.events.append(_flagged(endpoint, each))

    def _tell_once(
        self, found: _Found, id_: str, source: str, kind: str, subject: str, **data: str
    ) -> None:
        name = f"told {id_}"
        if self._store.recall(name) is None:
            now = format_time(self._clock())
            found.events.append(CloudEvent(id_, source, kind, subject, now, data=data))
            found.remembered.append((name, now))


def _flagged(endpoint: str, session: FlaggedSession) -> CloudEvent:
    return CloudEvent(
        f"session-{session.id}",
        f"gateways/{endpoint}",
        "session.flagged",
        f"models/{session.model}",
        session.time,
        session.model,
        {
            "principal": session.principal,
            "model": session.model,
            "action": session.action,
            "detail": f"the policy's answer is {session.action}",
        },
    )


def _signed(kept: str) -> Checkpoint:
    """The checkpoint of a note whose signature was verified, or refused, when it came."""
    return Checkpoint.parse(note.split(kept)[0])


def _check_grown(stub: LogServiceStub, old: Checkpoint, new: Checkpoint) -> None:
    """Check that the newer checkpoint extends the older one. Raises: LOG_INCONSISTENT, which is a
    GatewayRefusal where the gateway itself finds its log altered and has no proof.
    """
    sizes = f"{old.size} entries before, {new.size} now"
    if new.size < old.size:
        raise SealgateError(Reason.LOG_INCONSISTENT, f"it is shorter: {sizes}")
    proof: Sequence[bytes] = ()
    if old.size != new.size:
        request = logs.GetConsistencyProofRequest(
            origin=new.origin, old_size=old.size, new_size=new.size
        )
        try:
            proof = tuple(stub.GetConsistencyProof(request).hashes)
        except grpc.RpcError as error:
            refusal = refusal_of(error)
            if refusal.reason is not Reason.LOG_INCONSISTENT:
                raise
            raise refusal from error
    try:
        merkle.verify_consistency(old.size, old.root, new.size, new.root, proof)
    except SealgateError as refusal:
        raise SealgateError(Reason.LOG_INCONSISTENT, f"it was changed: {sizes}") from refusal


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
