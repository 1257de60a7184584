"""Follows the registry's log from a remembered place, and keeps each change as an event.

Events repeat the gateway's word: they are no proof.

A thread of its own: whatever ends the stream, it goes on at its place. The place is that after the
last change that was kept, so each change is kept once.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from sealgate.events.cloud_events import CloudEvent
from sealgate.events.store import EventStore
from sealgate.health.check import in_time
from sealgate.reasons import SealgateError
from sealgate.remote import Profile, ProfileError, connect
from sealgate.remote.calls import follow
from sealgate.remote.errors import refusal_of
from sealgate.signed_version import policy_history
from sealgate.trust import canonical
from sealgate.trust.dsse import Envelope
from sealgate.trust.policy import Policy
from sealgate.trust.statements.types import ROLLBACK
from sealgate.trust.transparency import origin_of
from sealgate.v1 import registry_pb2 as messages
from sealgate.v1.registry_pb2_grpc import RegistryServiceStub

_log = logging.getLogger(__name__)
_REST_SECONDS, _CALL_SECONDS = 5.0, 10.0
# How often the store is asked whether too much waits: every so many events.
_LOOK_EVERY = 256

Keep = Callable[[Sequence[CloudEvent], Sequence[tuple[str, str]]], None]
_HASH_CHARACTERS = 16
_KINDS: Mapping[int, str] = {
    messages.CHANGE_KIND_POLICY_ACCEPTED: "policy.accepted",
    messages.CHANGE_KIND_MODEL_CREATED: "model.created",
    messages.CHANGE_KIND_WATERMARK_COMMITTED: "watermark.committed",
    messages.CHANGE_KIND_VERSION_REGISTERED: "version.registered",
    messages.CHANGE_KIND_VERSION_REVOKED: "version.revoked",
    messages.CHANGE_KIND_PROPOSAL_CREATED: "proposal.opened",
    messages.CHANGE_KIND_APPROVAL_ADDED: "proposal.approved",
    messages.CHANGE_KIND_PROPOSAL_REJECTED: "proposal.rejected",
    messages.CHANGE_KIND_PROPOSAL_WITHDRAWN: "proposal.withdrawn",
    messages.CHANGE_KIND_COMMENT_ADDED: "proposal.commented",
    messages.CHANGE_KIND_POINTER_MOVED: "alias.promoted",
    messages.CHANGE_KIND_SCREENING_WITHDRAWN: "screening.bound-withdrawn",
}


class _Stopped(Exception):
    pass


def automatic(policy: Policy) -> Collection[str]:
    """The services that return aliases by themselves: they have the role, and are no admin."""
    return {each.name for each in policy.with_role("rollback") if "admin" not in each.roles}


class RegistryEvents:
    """The thread. `failing` says why the log cannot be followed now; empty while it can."""

    def __init__(
        self,
        profile: Path,
        store: EventStore,
        keep: Keep,
        *,
        from_beginning: bool,
        most_waiting: int,
        start: int | None = None,
    ) -> None:
        """`keep` keeps events and what is to be remembered, together, and has them delivered. With
        `start`, it begins at that entry, whatever is remembered.
        """
        self._profile = profile
        self._store = store
        self._keep = keep
        self._from_beginning = from_beginning
        self._start = start
        self._most_waiting = most_waiting
        self._stopping = threading.Event()
        self._channel: grpc.Channel | None = None
        self._thread = threading.Thread(target=self._run, name="events-log", daemon=True)
        self.failing = "not connected yet"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        channel = self._channel
        if channel is not None:
            channel.close()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                # Read anew each time: credentials are renewed.
                person = Profile.read(self._profile)
                with connect(person) as channel:
                    self._channel = channel
                    # After that: whoever stops this closes the channel, or it was stopped before.
                    if not self._stopping.is_set():
                        calls = in_time(channel, _CALL_SECONDS)
                        self._follow(person, RegistryServiceStub(calls))
            except _Stopped:
                return
            except (SealgateError, ProfileError, OSError, sqlite3.Error) as error:
                self._fail(str(error))
            except grpc.RpcError as error:
                self._fail(str(refusal_of(error)))
            except Exception as error:
                if not self._stopping.is_set():
                    _log.exception("following the registry's log")
                    self._fail(type(error).__name__)
            self._stopping.wait(_REST_SECONDS)

    def _fail(self, why: str) -> None:
        if not self._stopping.is_set():
            self.failing = why
            _log.error("the registry's log cannot be followed: %s", why)

    def _follow(self, person: Profile, registry: RegistryServiceStub) -> None:
        roots = person.pinned_roots(), person.root_threshold
        policy = policy_history(registry, *roots)[-1]
        origin = origin_of(policy.registry_log)
        name = f"place in {origin}"
        services = automatic(policy)

        def stream(at: int | None, seconds: float) -> Any:
            return registry.WatchChanges(messages.WatchChangesRequest(start=at), timeout=seconds)

        at = self._begin(name)
        for taken, message in enumerate(follow(stream, _after, at, sleep=self._sleep)):
            self.failing = ""
            event = None
            if message.HasField("change"):
                if message.change.kind == messages.CHANGE_KIND_POLICY_ACCEPTED:
                    services = automatic(policy_history(registry, *roots)[-1])
                event = event_of(message.change, origin, services)
            place = name, str(message.next)
            if event is not None:
                self._keep([event], [place])
            elif message.next != at:
                self._store.add((), [place])
            at = message.next
            if taken % _LOOK_EVERY == 0:
                self._await_room()

    def _begin(self, name: str) -> int | None:
        if (start := self._start) is not None:
            self._store.add((), [(name, str(start))])
            self._start = None
        kept = self._store.recall(name)
        if kept is not None:
            return int(kept)
        return 0 if self._from_beginning else None

    def _await_room(self) -> None:
        """Read no further while too much waits: the log keeps it for us."""
        while self._store.waiting() >= self._most_waiting:
            self.failing = "too many deliveries wait"
            self._sleep(1.0)

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped


def _after(message: messages.WatchChangesResponse) -> int:
    return message.next


def event_of(change: messages.Change, origin: str, services: Collection[str]) -> CloudEvent | None:
    """The event of a change in the log `origin`; None for a kind that this release does not know.

    `services` are the principals whose rollbacks are automatic.
    """
    kind = _KINDS.get(change.kind)
    if kind is None:
        return None
    payload = change.WhichOneof("payload")
    data = _READERS[payload](change) if payload else {"model": _model_of(change.subject)}
    if payload == "pointer" and change.pointer.action == ROLLBACK:
        automatic = change.pointer.admin in services
        kind = "alias.rolled-back-automatically" if automatic else "alias.rolled-back"
    data = {name: value for name, value in data.items() if value not in ("", None)}
    leaf_hash = change.leaf_hash.hex()
    return CloudEvent(
        # The index alone is another entry's in a log that was put back and went on.
        f"{change.index}-{leaf_hash[:_HASH_CHARACTERS]}",
        origin,
        kind,
        change.subject,
        change.time,
        data.get("model", ""),
        {
            "log": origin,
            "index": change.index,
            "leaf_hash": leaf_hash,
            "principal": change.principal,
        }
        | data,
    )


def _model_of(name: str) -> str:
    """The model of `models/{model}/…`."""
    parts = name.split("/")
    return parts[1] if parts[0] == "models" and len(parts) > 1 else ""


def _model(change: messages.Change) -> dict[str, Any]:
    return {"model": _model_of(change.model.name)}


def _version(change: messages.Change) -> dict[str, Any]:
    version = change.version
    return {
        "model": _model_of(version.name),
        "version": int(version.name.rpartition("/")[2]),
        "digest": version.digest,
        "publisher": version.publisher,
        "reason": version.revocation_reason,
        "withdrawn": version.screening_withdrawn,
    }


def _proposal(change: messages.Change) -> dict[str, Any]:
    proposal = change.proposal
    told = _signed(proposal.envelope)
    names = ("model", "alias", "version", "digest", "proposer", "not_after", "share")
    data = {name: told.get(name) for name in names} | {"proposal": proposal.digest}
    # The approvals, rejections and comments, of which the change may have added one.
    added = [*proposal.approvals, *proposal.rejections, *proposal.comments]
    for envelope in [*added, *filter(None, [proposal.withdrawal])]:
        reply = _signed(envelope)
        said = reply.get("reason") or reply.get("meaning") or reply.get("text")
        data |= {"approver": reply.get("approver"), "reason": said}
    return data


def _pointer(change: messages.Change) -> dict[str, Any]:
    pointer = change.pointer
    return {
        "model": _model_of(pointer.name),
        "alias": pointer.name.rpartition("/")[2],
        "version": pointer.version,
        "digest": pointer.digest,
        "sequence": pointer.sequence,
        "admin": pointer.admin,
        "reason": pointer.reason,
    }


def _policy(change: messages.Change) -> dict[str, Any]:
    told = _signed(change.policy)
    return {"version": told.get("version"), "expires": told.get("expires")}


_READERS: Mapping[str, Callable[[messages.Change], dict[str, Any]]] = {
    "model": _model,
    "version": _version,
    "proposal": _proposal,
    "pointer": _pointer,
    "policy": _policy,
}


def _signed(envelope: bytes) -> dict[str, Any]:
    """A signed document's content; empty for a form that this release does not know."""
    try:
        read = canonical.decode(Envelope.decode(envelope).payload)
    except SealgateError:
        return {}
    return read if isinstance(read, dict) else {}
