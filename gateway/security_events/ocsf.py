"""Security events as OCSF 1.8 (https://schema.ocsf.io/1.8.0), alike ones counted into one.

- Authentication (3002), activity Logon: a credential was refused.
- API Activity (6003): a call was refused for lack of a right, or by a quota. Its activity is Read
  for inference and what lists or watches, Create, Update or Delete by the method's verb.
- Detection Finding (2004), activity Create: what screening, sessions and verification find, with
  the technique of MITRE ATLAS.

The first of a group is due at once. Later ones are counted, and due together when a window has
passed; a group that nothing was added to by then ends. The groups of a kind are bounded: beyond,
its events are told without their origin, of which there are as many as reasons. So none is dropped,
and a flood of one kind, which strangers can cause, takes the origin from no other.
"""

import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.security_events.kinds import EventKind, SecurityEvent, Technique
from sealgate.reasons import Reason

MOST = 256
VERSION = "1.8.0"
_ATLAS = "5.6"
_AUTHENTICATION, _API_ACTIVITY, _FINDING = 3002, 6003, 2004
_CLASSES = {
    _AUTHENTICATION: ("Authentication", 3, "Identity & Access Management"),
    _API_ACTIVITY: ("API Activity", 6, "Application Activity"),
    _FINDING: ("Detection Finding", 2, "Findings"),
}
_CLASS_OF = {
    EventKind.CREDENTIAL_REFUSED: _AUTHENTICATION,
    EventKind.RIGHT_REFUSED: _API_ACTIVITY,
    EventKind.RATE_LIMITED: _API_ACTIVITY,
}
_LOGON, _CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 1, 2, 3, 4, 99
_ACTIVITIES = {_CREATE: "Create", _READ: "Read", _UPDATE: "Update", _DELETE: "Delete"}
_ACTIVITY_OF_VERB = {
    **dict.fromkeys(("Attach", "Commit", "Create", "Report", "Upload"), _CREATE),
    **dict.fromkeys(("Download", "Get", "List", "Model", "Open", "Server", "Watch"), _READ),
    **dict.fromkeys(("Accept", "Promote", "Rollback", "Withdraw"), _UPDATE),
    **dict.fromkeys(("Delete", "Erase", "Revoke"), _DELETE),
}
_VERB = re.compile(r"[A-Z][a-z]+")
_BLOCKED, _ALLOWED = (2, "Denied", 2, "Blocked"), (1, "Allowed", 1, "Allowed")
_UNKNOWN = "unknown"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CountedEvent:
    """`count` events that are alike; `first` and `last` are the times of the outer two, in seconds
    since 1970.
    """

    event: SecurityEvent
    count: int
    first: float
    last: float


@dataclass(slots=True)
class _Group:
    due: float
    count: int = 0
    first: float = 0.0
    last: float = 0.0


class EventGroups:
    """Safe for many threads. `clock` is in seconds since 1970 and may be set back; `most` is how
    many groups a kind has with their origin.
    """

    def __init__(self, window: float, clock: Callable[[], float], most: int = MOST) -> None:
        self._window = window
        self._clock = clock
        self._most = most
        self._mutex = threading.Lock()
        self._groups: dict[SecurityEvent, _Group] = {}
        self._kinds: Counter[EventKind] = Counter()

    def add(self, event: SecurityEvent) -> bool:
        """Count an event; True where it is due at once."""
        now = self._clock()
        with self._mutex:
            if event not in self._groups and self._kinds[event.kind] >= self._most:
                event = event.without_origin()
            is_new = event not in self._groups
            self._count(self._group(event, now), 1, now, now)
        return is_new

    def take(self) -> list[CountedEvent]:
        """The events that are due, in the order in which they first happened."""
        now = self._clock()
        taken: list[CountedEvent] = []
        with self._mutex:
            for event, group in list(self._groups.items()):
                # An event that is due later than a window from now was told before the clock was
                # set back.
                if now < group.due <= now + self._window:
                    continue
                if not group.count:
                    del self._groups[event]
                    self._kinds[event.kind] -= 1
                    continue
                taken.append(CountedEvent(event, group.count, group.first, group.last))
                self._groups[event] = _Group(now + self._window)
        return sorted(taken, key=lambda each: each.first)

    def take_all(self) -> list[CountedEvent]:
        """All that is counted, due or not; for the end."""
        with self._mutex:
            for group in self._groups.values():
                group.due = 0.0
        return self.take()

    def put_back(self, events: Sequence[CountedEvent]) -> None:
        """Count again what could not be told; it is due at once."""
        with self._mutex:
            for each in events:
                group = self._group(each.event, 0.0)
                group.due = 0.0
                self._count(group, each.count, each.first, each.last)

    def next_due(self) -> float | None:
        """In how many seconds something is due, if anything is counted."""
        with self._mutex:
            first = min((group.due for group in self._groups.values()), default=None)
        return None if first is None else min(max(0.0, first - self._clock()), self._window)

    def _group(self, event: SecurityEvent, due: float) -> _Group:
        group = self._groups.get(event)
        if group is None:
            group = self._groups[event] = _Group(due)
            self._kinds[event.kind] += 1
        return group

    def _count(self, group: _Group, count: int, first: float, last: float) -> None:
        group.first = min(group.first, first) if group.count else first
        group.last = max(group.last, last) if group.count else last
        group.count += count


def ocsf(counted: CountedEvent, release: str) -> Json:
    """The event as a JSON object; `release` is Sealgate's."""
    event = counted.event
    number = _CLASS_OF.get(event.kind, _FINDING)
    name, category_uid, category = _CLASSES[number]
    activity, activity_name = _activity(number, event.method)
    uid = str(uuid.uuid4())
    found: Json = {
        "activity_id": activity,
        "activity_name": activity_name,
        "category_uid": category_uid,
        "category_name": category,
        "class_uid": number,
        "class_name": name,
        "type_uid": number * 100 + activity,
        "type_name": f"{name}: {activity_name}",
        "time": _millis(counted.first),
        "start_time": _millis(counted.first),
        "end_time": _millis(counted.last),
        "count": counted.count,
        "severity_id": event.kind.severity.value,
        "severity": event.kind.severity.name.capitalize(),
        "message": event.kind.title,
        "metadata": _metadata(uid, event, release),
    }
    if number == _FINDING:
        return found | _finding(event, uid)
    return found | _refusal(event, number)


def _metadata(uid: str, event: SecurityEvent, release: str) -> Json:
    return {
        "version": VERSION,
        "uid": uid,
        "event_code": event.kind.name,
        "product": {"name": "Sealgate", "vendor_name": "Sealgate", "version": release},
        "profiles": ["security_control"],
    }


def _refusal(event: SecurityEvent, number: int) -> Json:
    user = {"name": event.principal or _UNKNOWN}
    found: Json = {
        "status_id": 2,
        "status": "Failure",
        "status_code": event.reason,
        "status_detail": _sentence(event.reason),
        "src_endpoint": _endpoint(event.address),
        **_disposition(_BLOCKED),
    }
    if number == _AUTHENTICATION:
        return found | {"user": user, "service": {"name": _service(event.method)}}
    if event.kind.technique is not None:
        found["attacks"] = [_attack(event.kind.technique)]
    api = {"operation": event.method or _UNKNOWN, "service": {"name": _service(event.method)}}
    return found | {"actor": {"user": user}, "api": api} | _resources(event)


def _finding(event: SecurityEvent, uid: str) -> Json:
    kind = event.kind
    info = {"uid": uid, "title": kind.title, "types": [kind.name], "data_sources": ["Sealgate"]}
    found: Json = {"finding_info": info, "status_id": 1, "status": "New", "is_alert": True}
    found |= _disposition(_BLOCKED if event.reason else _ALLOWED)
    if event.reason:
        found |= {"status_code": event.reason, "status_detail": _sentence(event.reason)}
    if kind.technique is not None:
        found["attacks"] = [_attack(kind.technique)]
    if event.principal or event.address:
        evidence: Json = {"src_endpoint": _endpoint(event.address)}
        if event.principal:
            evidence["actor"] = {"user": {"name": event.principal}}
        if event.method:
            evidence["api"] = {"operation": event.method}
        found["evidences"] = [evidence]
    if event.verdict:
        found["unmapped"] = {"verdict": event.verdict}
    return found | _resources(event)


def _resources(event: SecurityEvent) -> Json:
    if not event.model:
        return {}
    model = {"type": "AI Model", "name": event.model}
    return {"resources": [model | ({"version": event.version} if event.version else {})]}


def _attack(technique: Technique) -> Json:
    attack: Json = {
        "version": _ATLAS,
        "tactic": {"uid": technique.tactic_uid, "name": technique.tactic},
        "technique": {"uid": technique.uid, "name": technique.name},
    }
    if technique.sub_uid:
        attack["sub_technique"] = {"uid": technique.sub_uid, "name": technique.sub}
    return attack


def _disposition(found: tuple[int, str, int, str]) -> Mapping[str, Any]:
    names = ("action_id", "action", "disposition_id", "disposition")
    return dict(zip(names, found, strict=True))


def _activity(number: int, method: str) -> tuple[int, str]:
    if number == _AUTHENTICATION:
        return _LOGON, "Logon"
    if number == _FINDING:
        return _CREATE, _ACTIVITIES[_CREATE]
    verb = _VERB.match(method.rpartition("/")[2])
    activity = _ACTIVITY_OF_VERB.get(verb.group() if verb else "", _OTHER)
    return activity, _ACTIVITIES.get(activity, "Other")


def _service(method: str) -> str:
    """`inference.GRPCInferenceService` of `/inference.GRPCInferenceService/ModelInfer`."""
    return method.strip("/").rpartition("/")[0] or "sealgate"


def _endpoint(address: str) -> Json:
    return {"ip": address} if address else {"name": _UNKNOWN}


def _sentence(reason: str) -> str:
    return Reason[reason].sentence if reason else ""


def _millis(time: float) -> int:
    return int(time * 1000)
