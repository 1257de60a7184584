"""Watches each caller's session with each model, and says what the policy makes of it.

It watches the rows that screening has judged, whether or not their answers leave. The number of
sessions is bounded: the rows of the one that was quiet for longest are forgotten first, and its
consequences are kept (`gateway.sessions.consequences`).
"""

import hashlib
import logging
import secrets
import struct
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gateway import security_events
from gateway.security_events import EventKind, SecurityEvent
from gateway.sessions.consequences import Consequences, ForgottenSessions, strictest
from gateway.sessions.fingerprints import Fingerprinter, has_levels
from gateway.sessions.neighbourhoods import Neighbourhoods
from gateway.sessions.query_attack_detection import (
    CallerSession,
    Finding,
    image_payoff,
    verdict_payoff,
)
from gateway.sessions.session_rows import (
    MOST_CLASSES,
    REMEMBERED,
    START,
    Disclosure,
    OwnStore,
    Store,
    class_of_version,
)
from inference.engine import InferenceResult, LiveVersion
from inference.model.config import CLASSES, ModelConfig
from inference.screening.detector import Verdict
from sealgate.trust.policy import Consequence, SessionRules

_log = logging.getLogger(__name__)

SEARCH, EXTRACTION, TURNED, CROSSED = "search", "extraction", "turned", "crossed"
_TOLD = {
    SEARCH: "as is done for search",
    EXTRACTION: "as is done for extraction",
    TURNED: "about near-duplicates that it answers differently",
    CROSSED: "about what it answered differently to several other callers",
}
_EVENTS = dict.fromkeys((SEARCH, TURNED, CROSSED), EventKind.SESSION_SEARCH) | {
    EXTRACTION: EventKind.SESSION_EXTRACTION
}
# Sessions whose rows are held.
_MOST = 1024
# Class, what the caller was told, payoff.
_HEAD = struct.Struct(">iBd")
# Rows of another form stand under other names, and nobody reads them: gateways of two releases may
# share a place.
_FORMAT = b"name 4"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class SessionFinding:
    """The consequences for a burst of a caller's requests: the policy's action, if any; and of each
    request, the classes of its rows' anchors, if any. `anchors` is empty where none has one.
    """

    action: str | None = None
    anchors: Sequence[Sequence[int | None] | None] = ()


@dataclass(slots=True)
class _Watched:
    """A session as it is known here, and its consequences."""

    ends: Consequences
    session: CallerSession = field(default_factory=CallerSession)
    cursor: str = START
    mutex: threading.Lock = field(default_factory=threading.Lock)


class _TakenRows(NamedTuple):
    """Rows of one kind, by their encoded prints, with what was found of each."""

    prints: Sequence[bytes]
    labels: Sequence[int]
    told: Sequence[int]
    found: Sequence[Finding]


def _new_images(
    taken: Sequence[_TakenRows], count: int
) -> Iterator[tuple[Sequence[bytes], Sequence[int]]]:
    """The prints and classes of images among the last `count` rows that no anchor answers, and of
    which their caller was told.
    """
    start = sum(len(rows.found) for rows in taken) - count
    for rows in taken:
        if has_levels(rows.prints[0]):
            every = zip(rows.prints, rows.labels, rows.told, rows.found, strict=True)
            kept = [
                (given, label)
                for given, label, told, found in islice(every, max(0, start), None)
                if found.anchor is None and told != Disclosure.NOTHING
            ]
            if kept:
                prints, labels = zip(*kept, strict=True)
                yield prints, labels
        start -= len(rows.found)


class SessionWatch:
    """Safe for many threads. `found` counts what was found, by model and kind."""

    def __init__(
        self,
        store: Store | None = None,
        key: bytes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`key` is secret, of 32 bytes or more; without it another is drawn. `clock` is in
        seconds.
        """
        self.store = store or OwnStore()
        # BLAKE2b takes 64 bytes at most.
        self._key = hashlib.sha256(key or secrets.token_bytes(KEY_BYTES)).digest()
        self._clock = clock
        self._mutex = threading.Lock()
        self.watched: OrderedDict[tuple[str, str], _Watched] = OrderedDict()
        self._forgotten = ForgottenSessions()
        self._printers: dict[str, Fingerprinter] = {}
        self._neighbourhoods: dict[str, Neighbourhoods] = {}
        self.found: Counter[tuple[str, str]] = Counter()

    def prints(
        self, rules: SessionRules | None, live: LiveVersion, requests: Sequence[npt.NDArray[Any]]
    ) -> list[list[bytes] | None]:
        """The fingerprints of each request's rows [n, …], made together where the rows are of one
        shape: that costs a tenth for each. None where the policy asks for no sessions.
        """
        if rules is None:
            return [None] * len(requests)
        shapes = {rows.shape[1:] for rows in requests}
        if len(shapes) != 1 or len(requests) == 1:
            return [self._prints(live, rows) for rows in requests]
        found = iter(self._prints(live, np.concatenate(requests)))
        return [list(islice(found, len(rows))) for rows in requests]

    def observe(
        self,
        rules: SessionRules | None,
        caller: str,
        live: LiveVersion,
        requests: Sequence[tuple[list[bytes] | None, InferenceResult]],
        bound_holds: bool = True,
        withheld: Sequence[bool] = (),
    ) -> SessionFinding:
        """Take a caller's requests of a burst, as their rows' prints and their answers, and return
        what the policy says of the session, if anything follows: that holds for all of them. Where
        the version's bound no longer holds, verdicts are no evidence. `withheld` says of each
        request whether the policy refuses it for its verdict; by default none is. Raises
        SealgateError(SESSION_UNKNOWN) where the store does not answer.
        """
        if rules is None:
            return SessionFinding()
        told = list(map(_told, (a for _, a in requests), withheld or [False] * len(requests)))
        given = _rows(live, requests, told, bound_holds)
        flat = [row for rows in given for row in rows]
        watched = self._of(caller, live.model)
        found: list[Finding] = []
        new: list[tuple[Sequence[bytes], Sequence[int]]] = []
        with watched.mutex:
            name = self._name(caller, live.model)
            # A store keeps no more rows than a session remembers.
            for at in range(0, len(flat), REMEMBERED):
                own = flat[at : at + REMEMBERED]
                rows, watched.cursor = self.store.exchange(name, own, watched.cursor)
                groups = [list(alike) for _, alike in groupby(rows, len)]
                taken = [self._take(watched, each, rules, caller, live.model) for each in groups]
                # Those of this burst are the newest.
                found += [each for rows in taken for each in rows.found][-len(own) :]
                new += _new_images(taken, len(own))
            action = watched.ends.action(rules, self._clock())
        if self._crossed(live, caller, new):
            # Of this burst alone: who knows another's rows could have them blocked for longer.
            action = strictest([action or rules.search, rules.search])
        anchored = any(each.anchor is not None for each in found)
        if rules.search != Consequence.BLOCK or not anchored:
            return SessionFinding(action)
        left = iter(found)
        return SessionFinding(action, [_anchors(islice(left, len(rows))) for rows in given])

    def close(self) -> None:
        self.store.close()

    def _take(
        self, watched: _Watched, rows: list[bytes], rules: SessionRules, caller: str, model: str
    ) -> _TakenRows:
        """Rows of one length, which are of one kind."""
        labels, told, payoffs = zip(*map(_HEAD.unpack_from, rows), strict=True)
        prints = [row[_HEAD.size :] for row in rows]
        found = watched.session.add_all(prints, labels, payoffs, told)
        times = {
            SEARCH: sum(each.search for each in found),
            EXTRACTION: sum(each.extraction for each in found),
            TURNED: sum(each.turned for each in found),
        }
        until = self._clock() + rules.seconds
        # Where a near-duplicate is answered as its anchor is, nothing else has to follow.
        if times[SEARCH] or (times[TURNED] and rules.search != Consequence.BLOCK):
            watched.ends.search_until = until
        if times[EXTRACTION]:
            watched.ends.extraction_until = until
        for kind, number in times.items():
            self._count(model, caller, kind, number)
        return _TakenRows(prints, labels, told, found)

    def _count(self, model: str, caller: str, kind: str, number: int) -> None:
        if number:
            # Another session's thread may be adding here, too.
            with self._mutex:
                self.found[model, kind] += number
            _log.warning("%s asks %s %s", caller, model, _TOLD[kind])
            security_events.report(SecurityEvent(_EVENTS[kind], principal=caller, model=model))

    def _crossed(
        self, live: LiveVersion, caller: str, new: Sequence[tuple[Sequence[bytes], Sequence[int]]]
    ) -> bool:
        """Whether new images among a caller's rows cross what others were told."""
        if not new or not measured_alike(live.config):
            return False
        kept = self._neighbourhoods.setdefault(live.model, Neighbourhoods())
        crossing = sum(sum(kept.crossed(caller, prints, labels)) for prints, labels in new)
        self._count(live.model, caller, CROSSED, crossing)
        return crossing > 0

    def _prints(self, live: LiveVersion, rows: npt.NDArray[Any]) -> list[bytes]:
        domain = live.config.domain
        alike = _has_levels(live.config)
        return self._printer(live.model).encoded(rows, domain.min, domain.max, alike)

    def _of(self, caller: str, model: str) -> _Watched:
        name = caller, model
        with self._mutex:
            if (watched := self.watched.get(name)) is None:
                watched = _Watched(self._forgotten.take(name))
            self.watched[name] = watched
            self.watched.move_to_end(name)
            if len(self.watched) > _MOST:
                oldest, left = self.watched.popitem(last=False)
                self._forgotten.keep(oldest, left.ends, self._clock())
            return watched

    def _printer(self, model: str) -> Fingerprinter:
        # There are no more of them than models that are live.
        printer = self._printers.get(model)
        if printer is None:
            printer = self._printers.setdefault(model, Fingerprinter(self._key, model))
        return printer

    def _name(self, caller: str, model: str) -> str:
        text = f"{caller}/{model}".encode()
        return hashlib.blake2b(text, digest_size=16, key=self._key, person=_FORMAT).hexdigest()


def _anchors(found: Iterable[Finding]) -> list[int | None] | None:
    """A request's anchors, or None where no row has one."""
    anchors = [each.anchor for each in found]
    return anchors if any(each is not None for each in anchors) else None


def _rows(
    live: LiveVersion,
    requests: Sequence[tuple[list[bytes] | None, InferenceResult]],
    told: Sequence[Disclosure],
    bound_holds: bool,
) -> list[list[bytes]]:
    """The rows of each request as a store keeps them."""
    logits = [answer.outputs[live.config.output.name] for _, answer in requests]
    labels = iter(live.config.decision.index(np.concatenate(logits)).tolist())
    version = class_of_version(0, live.digest)
    found = []
    for (prints, answer), said in zip(requests, told, strict=True):
        # The verdict is the request's, its worst row's: it counts once. 1 is no bet.
        payoff = request_payoff(live, answer) if bound_holds else 1.0
        rows = []
        for label, each in zip(islice(labels, len(answer.features)), prints or (), strict=True):
            rows.append(_HEAD.pack(version | label % MOST_CLASSES, said, payoff) + each)
            payoff = 1.0
        found.append(rows)
    return found


def _told(answer: InferenceResult, withheld: bool) -> Disclosure:
    if withheld:
        return Disclosure.NOTHING
    return Disclosure.CLEAN if answer.verdict is Verdict.CLEAN else Disclosure.CLASS


def _has_levels(config: ModelConfig) -> bool:
    """Whether near-duplicates can be answered alike: a class says nothing of numbers or labels."""
    few = config.output.row[-1] <= MOST_CLASSES
    return few and config.decision == CLASSES and measured_alike(config)


def measured_alike(config: ModelConfig) -> bool:
    """Whether elements of a row are measured alike, as pixels are: one scaling is that of them all,
    where a table has one for each column; or, where none is said, they lie in a grid.
    """
    if config.scaling is None:
        return len(config.input.row) > 1
    return len(config.scaling.offset) == 1


def request_payoff(live: LiveVersion, answer: InferenceResult) -> float:
    """That of a request's verdict. It is the worst of its rows', each of which may be as bad with a
    chance that calibration bounds, so the request may with the sum of these. A bound that holds on
    average is no such chance: a caller asks one version, of one calibration.
    """
    rows, promised = len(answer.features), live.ready.detector.calibration
    if measured_alike(live.config):
        return image_payoff(answer.verdict.value, rows)
    chances = (promised.surely(limit) for limit in (promised.adversarial, promised.suspect))
    return verdict_payoff(answer.verdict.value, *(min(1.0, each * rows) for each in chances))
