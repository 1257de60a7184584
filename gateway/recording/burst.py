"""What the recorder takes and gives back where a whole burst of requests is recorded at once.

The records of one route differ in few fields. A `RecordTemplate` holds the others:

    route = RecordTemplate(subject="carla", principal="carla", method=…, model="digits", …)
    time = format_micros(now)  # once a burst
    records = [route.fill(time, input, output, "answered", …) for …]
    for recorded in recorder.record_burst(records):
        if isinstance(recorded, SealgateError): …
        else: recorded.receipt()
"""

from collections.abc import Sequence
from typing import NamedTuple

from registry.answers.answer_log import Entries
from registry.answers.encryption import Opening
from registry.log.rows import Appended
from sealgate.trust.receipts import Receipt, receipt_path, receipt_tail
from sealgate.trust.receipts.answer_entry import SALT_SIZE
from sealgate.trust.transparency import TlogProof

# Proofs of fewer entries share too little.
_FEW = 4


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
    """Entries that were committed together. What their receipts share is made once, when the first
    is asked for.
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
