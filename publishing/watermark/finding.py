"""Which of our versions a file is, and who was given it: every mark of every key is tried."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from publishing.watermark.detection import Detection, detection_of
from publishing.watermark.key import Code, WatermarkKey
from publishing.watermark.pairing import Paired
from publishing.watermark.reading import Weights, read_code, read_payloads
from publishing.watermark.recipients import Accused, ReadCode, accused, kept_copies
from publishing.watermark.records import MarkRecord, kept_keys, kept_marks
from publishing.watermark.second_reading import aligned_to
from publishing.watermark.weights import Floats

# The marked weights of a version as the registry has them, in the order of the mark's slots.
FetchCopy = Callable[[MarkRecord], Sequence[Floats] | None]


@dataclass(frozen=True, slots=True)
class Found:
    """The mark that was read, or of those that were tried the one nearest to it; `tried` of them.

    `blind` is whether the file alone was enough; `payload` whether the file names the version by
    itself; `recipients` are who is named as having been given it.
    """

    record: MarkRecord
    detection: Detection
    tried: int
    blind: bool
    payload: bool
    recipients: tuple[Accused, ...]


def find(weights: Weights, folder: Path, fetch: FetchCopy | None) -> Found | None:
    """The version whose mark these weights carry; None where no mark was ever made.

    1. All marks of all keys are read, and z is paid for by their number.
    2. Where none is found, and copies can be fetched, the weights are aligned to each version's.
    3. Of the version that is found, all recipients are tried, blind or aligned as it was.

    Raises: as `kept_keys` and `kept_marks`.
    """
    marks = [(key, record) for key in kept_keys(folder) for record in kept_marks(folder, key)]
    if not marks:
        return None
    # Twice where there is a second reading.
    tries = len(marks) * (1 if fetch is None else 2)
    # 1.
    read = [(read_code(weights, r.code, r.slots, tries), key, r) for key, r in marks]
    detection, key, record = max(read, key=lambda each: each[0].z)
    # 2.
    aligned: list[Paired] | None = None
    if not detection.found and fetch is not None:
        for candidate_key, candidate in marks:
            copy = fetch(candidate)
            if copy is None:
                continue
            paired = aligned_to(weights, candidate.code, copy)
            second = detection_of(paired, candidate.code, math.log(tries))
            if second.z > detection.z:
                detection, key, record, aligned = second, candidate_key, candidate, paired
    # 3.
    blind = aligned is None
    read_one = _reader(weights, record, aligned)
    copies = kept_copies(folder, key.model, record.version_digest) if detection.found else ()
    named = accused(read_one, key, copies)
    payload = blind and record.worded and detection.found and _names(weights, key, record)
    return Found(record, detection, len(marks), blind, payload, named)


def _reader(weights: Weights, record: MarkRecord, aligned: Sequence[Paired] | None) -> ReadCode:
    """How a code of that version's copies is read, as the version's own was."""

    def read(code: Code, tries: int) -> Detection:
        if aligned is None:
            return read_code(weights, code, record.slots, tries)
        return detection_of(aligned, code, math.log(tries))

    return read


def _names(weights: Weights, key: WatermarkKey, record: MarkRecord) -> bool:
    return record.mark.payload in read_payloads(weights, key, record.slots)
