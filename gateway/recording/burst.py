"""Records of a burst of requests: what the recorder takes and gives back, and how it is written.

The records of one route differ in few fields. A `RecordTemplate` holds the others:

    route = RecordTemplate(subject="carla", principal="carla", method=…, model="digits", …)
    time = format_micros(now)  # once a burst
    records = [route.fill(time, input, output, "answered", …) for …]
    for recorded in recorder.record_burst(records):
        if isinstance(recorded, SealgateError): …
        else: recorded.receipt()

A burst is written in groups of at most 256 entries. A group is one transaction, one signature and
one durable commit. Groups of several threads are joined where they fit (see
`inference.batching.batcher`).
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count, repeat
from typing import NamedTuple, Protocol, TypeAlias

from gateway.recording.erasure import ErasureBarrier
from inference.batching import DEFAULT_OPTIONS, Batcher, BatcherLimits
from inference.engine import Duration
from registry.answers import AnswerLog, Entries, LoggedAnswer, Opening, PythonEntries, SubjectKeys
from registry.log.rows import LARGEST_GROUP, Appended
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.receipts import Receipt, receipt_path, receipt_tail
from sealgate.trust.receipts.answer_entry import SALT_SIZE
from sealgate.trust.transparency import TlogProof

# Proofs of fewer entries share too little.
_FEW = 4
NONCE_BYTES = 16
_WAITING = 4096


class PreparedRecord(NamedTuple):
    """A record whose values are in the order of `answer_entry.FIELDS`, and whom it is about."""

    subject: str
    fields: tuple[str, ...]

    def values(self) -> tuple[str, ...]:
        """The values in the order of the leaf's fields."""
        return self.fields


class RecordTemplate:
    """The fields that the records of one caller and one version share, under one policy.

    `threshold`, `screening` and `arithmetic` are empty where a record is of no run.
    """

    __slots__ = ("_before", "_behind", "_named", "subject")

    def __init__(
        self,
        *,
        subject: str,
        principal: str,
        method: str,
        policy_digest: str,
        model: str = "",
        version: str = "",
        version_digest: str = "",
        pointer_sequence: str = "",
        threshold: str = "",
        engine: str = "",
        alias: str = "",
        screening: str = "",
        arithmetic: str = "",
    ) -> None:
        self.subject = subject
        named = (model, version, version_digest, pointer_sequence)
        self._before = (principal, method, *named, policy_digest)
        self._named = (threshold, engine, alias)
        self._behind = (screening, arithmetic)

    def fill(
        self,
        time: str,
        input: str,
        output: str,
        outcome: str,
        verdict: str = "",
        score: str = "",
        parameters: str = "",
        request_id: str = "",
        actions: str = "",
    ) -> PreparedRecord:
        """The record of one request. `time` is the text of `format_micros`."""
        return PreparedRecord(
            self.subject,
            (
                time,
                *self._before,
                input,
                output,
                outcome,
                verdict,
                score,
                *self._named,
                parameters,
                request_id,
                *self._behind,
                actions,
            ),
        )


class RecordedGroup:
    """Entries that were committed together. The part that their receipts share is made once, when
    the first is asked for.
    """

    __slots__ = ("_height", "_paths", "_sibling", "_tail", "appended")

    def __init__(self, appended: Appended) -> None:
        self.appended = appended
        self._sibling = appended.frontier.sibling
        self._height = appended.frontier.height
        self._tail = ""
        self._paths: dict[tuple[int, int], str] = {}

    @property
    def tail(self) -> str:
        """The end of each receipt."""
        if not self._tail:
            self._tail = receipt_tail(self.appended.note)
        return self._tail

    def path(self, index: int) -> str:
        """The hashes of an entry's inclusion proof, in a receipt's text."""
        if self.appended.size - self.appended.first < _FEW:
            return receipt_path(self.appended.proof(index))
        return self._path(0, index)

    def _path(self, level: int, node: int) -> str:
        """The hashes from a level up, which are the same for all entries under a node."""
        if level >= self._height:
            return ""
        sibling, above = self._sibling(level, node), (level + 1, node >> 1)
        found = self._paths.get(above)
        if found is None:
            found = self._paths[above] = self._path(*above)
        return receipt_path((sibling,)) + found if sibling else found


class MadeEntries(NamedTuple):
    """The entries of some openings."""

    openings: Sequence[Opening]
    entries: Entries


class RecordedAnswer:
    """A record that is on the disk, at `index` of the log."""

    __slots__ = ("_at", "_group", "_made", "index")

    def __init__(self, group: RecordedGroup, index: int, made: MadeEntries, at: int) -> None:
        """It is number `at` of the entries that were `made` together."""
        self.index = index
        self._group = group
        self._made = made
        self._at = at

    def receipt(self) -> bytes:
        """The encoded receipt that opens what the caller may see. Made anew at each call."""
        group, index = self._group, self.index
        return self._made.entries.receipt(self._at, index, group.path(index), group.tail)

    def whole(self) -> Receipt:
        """The same receipt, decoded."""
        appended, (openings, entries) = self._group.appended, self._made
        proof = TlogProof(self.index, appended.proof(self.index), appended.note)
        salts, leaf = entries.salts(self._at), entries.leaves[self._at]
        apart = [salts[at : at + SALT_SIZE] for at in range(0, len(salts), SALT_SIZE)]
        return Receipt.of(leaf, openings[self._at].fields, apart, proof)


class Recordable(Protocol):
    """A finished request: whom it is about, and the values of its entry's fields."""

    @property
    def subject(self) -> str: ...

    def values(self) -> tuple[str, ...]: ...


Recorded: TypeAlias = RecordedAnswer | SealgateError
"""The result of a record: it is on the disk, or it is not, and why."""


class _Made(NamedTuple):
    """Records that are ready to be appended, and their places in the burst."""

    places: Sequence[int]
    answers: Sequence[LoggedAnswer]
    entries: MadeEntries


_NOTHING = _Made((), (), MadeEntries((), PythonEntries((), (), b"")))


class _Written(NamedTuple):
    """Where entries stand: a group, and the index of the first of them."""

    group: RecordedGroup
    first: int


class BurstWriter:
    """Writes records, from any thread. `commits` are the groups written, and how long it took."""

    def __init__(self, log: AnswerLog, subjects: SubjectKeys, barrier: ErasureBarrier) -> None:
        self._log = log
        self._subjects = subjects
        self._barrier = barrier
        self._groups: Batcher[Sequence[LoggedAnswer], _Written] = Batcher(
            self._append, BatcherLimits(max_rows=LARGEST_GROUP, queue_rows=_WAITING)
        )
        # One group after another is written, so nobody else changes it meanwhile.
        self.commits = Duration()

    def write(self, records: Sequence[Recordable]) -> list[Recorded]:
        """Write records in this order; see `AuditRecorder.record_burst`. They wait for no others:
        whoever brings a burst has gathered it.

        Those whose subject is being erased come last, for they wait until that is done.
        """
        found: dict[int, Recorded] = {}
        subjects = {record.subject for record in records}
        with self._barrier.recording_others(subjects) as barred:
            self._write(records, lambda subject: subject not in barred, found)
        for subject in sorted(barred):
            try:
                with self._barrier.recording(subject):
                    self._write(records, subject.__eq__, found)
            except SealgateError as refusal:
                about = [n for n, record in enumerate(records) if record.subject == subject]
                found |= dict.fromkeys(about, refusal)
        return [found[place] for place in range(len(records))]

    def close(self, timeout: float) -> bool:
        """Waits for what is being written; False where time ran out."""
        return self._groups.close(timeout)

    def _write(
        self,
        records: Sequence[Recordable],
        wanted: Callable[[str], bool],
        found: dict[int, Recorded],
    ) -> None:
        """Write the records about some subjects. An append that fails fails those behind it."""
        made = self._entries(self._openings(records, wanted, found), found)
        failed: SealgateError | None = None
        for at in range(0, len(made.places), LARGEST_GROUP):
            failed = failed or self._submit(made, at, found)
            if failed is not None:
                found |= dict.fromkeys(made.places[at : at + LARGEST_GROUP], failed)

    def _submit(self, made: _Made, at: int, found: dict[int, Recorded]) -> SealgateError | None:
        """Append the entries from number `at` on, as many as a group has."""
        places, answers, entries = made
        [result] = self._groups.submit_all([(answers[at : at + LARGEST_GROUP], DEFAULT_OPTIONS, 0)])
        if isinstance(result, SealgateError):
            return result
        group, first = result
        written = map(RecordedAnswer, repeat(group), count(first), repeat(entries), count(at))
        found.update(zip(places[at : at + LARGEST_GROUP], written, strict=False))
        return None

    def _openings(
        self,
        records: Sequence[Recordable],
        wanted: Callable[[str], bool],
        found: dict[int, Recorded],
    ) -> dict[int, Opening]:
        """The openings of the wanted records' entries, by their places; `found` says why there is
        none.
        """
        openings: dict[int, Opening] = {}
        nonces = secrets.token_bytes(NONCE_BYTES * len(records))
        for place, record in enumerate(records):
            subject = record.subject
            if not wanted(subject):
                continue
            nonce = nonces[place * NONCE_BYTES : (place + 1) * NONCE_BYTES]
            try:
                key = self._subjects.key(subject)
                openings[place] = Opening(record.values(), nonce, subject, key)
            except Exception as error:  # one record's mistake must not fail the others
                found[place] = _refusal(error)
        return openings

    def _entries(self, openings: Mapping[int, Opening], found: dict[int, Recorded]) -> _Made:
        """The entries that openings have, together; `found` says why one has none."""
        some = list(openings.values())
        if not some:
            return _NOTHING
        try:
            answers, entries = self._log.entries(some)
        except Exception as error:  # of whichever it is
            good = {place: each for place, each in openings.items() if self._can_be(each)}
            bad = openings.keys() - good.keys() or openings.keys()
            found |= dict.fromkeys(bad, _refusal(error))
            rest = {place: each for place, each in good.items() if place not in bad}
            return self._entries(rest, found)
        return _Made(list(openings), answers, MadeEntries(some, entries))

    def _can_be(self, opening: Opening) -> bool:
        """Whether an opening can be that of an entry."""
        try:
            self._log.entries([opening])
        except Exception:  # whatever it is, the same happens in a burst
            return False
        return True

    def _append(self, groups: list[Sequence[LoggedAnswer]]) -> Sequence[_Written]:
        begun = time.perf_counter_ns()
        appended = self._log.append([entry for group in groups for entry in group])
        self.commits += Duration(1, time.perf_counter_ns() - begun)
        shared, first, written = RecordedGroup(appended), appended.first, []
        for group in groups:
            written.append(_Written(shared, first))
            first += len(group)
        return written


def _refusal(error: Exception) -> SealgateError:
    if isinstance(error, SealgateError):
        return error
    return SealgateError(Reason.INTERNAL, f"no entry: {type(error).__name__}")
