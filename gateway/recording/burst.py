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

from registry.log.tile_log import Appended
from sealgate.trust.receipts import Receipt, ReceiptGroup
from sealgate.trust.transparency import TlogProof


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
    """Entries that were committed together: what their receipts share is made once, when the
    first is asked for.
    """

    __slots__ = ("_receipts", "appended")

    def __init__(self, appended: Appended) -> None:
        self.appended = appended
        self._receipts: ReceiptGroup | None = None

    @property
    def receipts(self) -> ReceiptGroup:
        found = self._receipts
        if found is None:
            found = self._receipts = ReceiptGroup(self.appended.note)
        return found


class RecordedAnswer:
    """A record that is on the disk, at `index` of the log."""

    __slots__ = ("_group", "_leaf", "_salts", "_values", "index")

    def __init__(
        self,
        group: RecordedGroup,
        index: int,
        leaf: bytes,
        values: tuple[str, ...],
        salts: Sequence[bytes],
    ) -> None:
        self.index = index
        self._group = group
        self._leaf = leaf
        self._values = values
        self._salts = salts

    def receipt(self) -> bytes:
        """The encoded receipt that opens what the caller may see. Made anew at each call."""
        appended = self._group.appended
        path = appended.proof(self.index)
        receipts = self._group.receipts
        return receipts.encode(self._leaf, self._values, self._salts, self.index, path)

    def whole(self) -> Receipt:
        """The same receipt, decoded."""
        appended = self._group.appended
        path = appended.proof(self.index)
        proof = TlogProof(self.index, path, appended.note)
        return Receipt.of(self._leaf, self._values, self._salts, proof)
