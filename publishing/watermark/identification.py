"""Identifies the version and the recipient of a file by trying every mark of every key.

A recipient's copy carries one more mark, under a key of its own. Recipients who average their
copies weaken each mark by their number, and no more: the mark is strong enough that the mean of
five copies still names at least one. Nobody is named unless the chance of naming an uninvolved
recipient, among all who got a copy, is below one in a million.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from publishing.watermark.aligned_detection import aligned_to, could_hold
from publishing.watermark.correlation import Floats, PairedWeight
from publishing.watermark.detection import (
    FileWeights,
    MarkDetection,
    detection_of,
    read_code,
    read_payloads,
)
from publishing.watermark.graph_marking import EmbeddingStrength, spread
from publishing.watermark.key import WatermarkCode, WatermarkKey
from publishing.watermark.mark_records import MarkRecord, kept_keys, kept_marks
from sealgate.reasons import Reason, SealgateError
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.keys import read_private_file, write_private_file

FALSE_ACCUSATION = 1e-6
COLLUDERS = 5
# The z of a copy: 8 remain in the mean of five, and 6.4 identify one of a thousand.
TARGET = 40.0
# A stronger mark would be felt: smaller models get a weaker one, and resist fewer colluders.
_MOST = 0.15
_RECIPIENTS = 1_000
_COPY = "sealgate/watermark-copy/v1"
_END = ".copy.json"

# Reads a code in some weights, after correcting for the number of codes tried.
ReadCode = Callable[[WatermarkCode, int], MarkDetection]


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """A copy and its recipient: `parent` is the version's digest, `file` the copy's own."""

    model: str
    recipient: str
    parent: str
    file: str

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.recipient)
        canonical.check_digest(self.parent)
        canonical.check_digest(self.file)


@dataclass(frozen=True, slots=True)
class NamedRecipient:
    """A recipient whose mark was read, after all recipients of a copy were tried."""

    record: CopyRecord
    detection: MarkDetection


def spread_copy(hosts: Sequence[Floats], code: WatermarkCode) -> EmbeddingStrength:
    """How to add a recipient's mark. Raises: WATERMARK_CAPACITY where not even one is named."""
    count = sum(host.size for host in hosts)
    if _MOST * math.sqrt(count) < accusing(_RECIPIENTS) + 3:
        raise SealgateError(Reason.WATERMARK_CAPACITY, f"{count} weights cannot name a recipient")
    return spread(hosts, code, min(TARGET, math.sqrt(count) / 2), most=_MOST)


def colluders_named(z: float) -> int:
    """How many copies may be averaged, of a thousand, so that one is named still: at most five."""
    return min(int(z / (accusing(_RECIPIENTS) + 1)), COLLUDERS)


def accusing(recipients: int) -> float:
    """The z that accuses one of so many: recipients * exp(-z^2 / 2) is FALSE_ACCUSATION there."""
    return math.sqrt(2 * math.log(max(recipients, 1) / FALSE_ACCUSATION))


def accused(
    read: ReadCode, key: WatermarkKey, copies: Sequence[CopyRecord]
) -> tuple[NamedRecipient, ...]:
    """The recipients, of those of one version, whose marks are read; the surest first.

    z and bound have been paid for: by searching, and by trying all recipients.
    """
    limit = math.log10(FALSE_ACCUSATION)
    tried = [
        NamedRecipient(copy, read(key.recipient(copy.parent, copy.recipient), len(copies)))
        for copy in copies
    ]
    named = [each for each in tried if each.detection.log10_bound <= limit]
    return tuple(sorted(named, key=lambda each: -each.detection.z))


def save_copy(folder: Path, record: CopyRecord) -> None:
    """Keeps who got what, beside the marks. Raises: KEY_FILE_EXISTS, OSError."""
    document = {
        "type": _COPY,
        "model": record.model,
        "recipient": record.recipient,
        "parent": record.parent,
        "file": record.file,
    }
    write_private_file(copy_path(folder, record), canonical.encode(document))


def copy_path(folder: Path, record: CopyRecord) -> Path:
    """Where it is kept: a recipient gets one copy of a version."""
    short = record.parent.removeprefix("sha256:")[:16]
    return folder / f"{record.model}-{short}-{record.recipient}{_END}"


def kept_copies(folder: Path, model: str, parent: str) -> tuple[CopyRecord, ...]:
    """Every copy of the version of that digest. Raises: KEY_FILE_EXPOSED, DOCUMENT_MALFORMED."""
    short = parent.removeprefix("sha256:")[:16]
    paths: Iterable[Path] = sorted(folder.glob(f"{model}-{short}-*{_END}"))
    found = (_load(path) for path in paths)
    return tuple(copy for copy in found if (copy.model, copy.parent) == (model, parent))


def _load(path: Path) -> CopyRecord:
    names = ("model", "recipient", "parent", "file")
    document = fields.record(canonical.decode(read_private_file(path)), names, kind=_COPY)
    return CopyRecord(*(fields.text(document[name]) for name in names))


@dataclass(frozen=True, slots=True, eq=False)
class MarkedCopy:
    """A version's weights as the registry has them: the marked ones in the order of the mark's
    slots, and others, such as a language model's embedding.
    """

    values: Sequence[Floats]
    tables: Sequence[Floats] = ()


FetchCopy = Callable[[MarkRecord], MarkedCopy | None]


@dataclass(frozen=True, slots=True)
class IdentifiedMark:
    """The mark that was read, or of those that were tried the one nearest to it; `tried` of them.

    `blind` is whether the file alone was enough; `payload` whether the file names the version by
    itself; `recipients` are who is named as having been given it.
    """

    record: MarkRecord
    detection: MarkDetection
    tried: int
    blind: bool
    payload: bool
    recipients: tuple[NamedRecipient, ...]


def find_mark(weights: FileWeights, folder: Path, fetch: FetchCopy | None) -> IdentifiedMark | None:
    """The version whose mark these weights carry; None where no mark was ever made.

    1. All marks of all keys are read, and z is paid for by their number.
    2. Where none is found, and copies can be fetched, the weights are aligned to each version's
       whose shapes they could have.
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
    # Of those that read nothing, the one that fits most says why.
    detection, key, record = max(read, key=lambda each: (each[0].z, each[0].weights))
    # 2.
    aligned: list[PairedWeight] | None = None
    if not detection.found and fetch is not None:
        for candidate_key, candidate in marks:
            fits = could_hold(weights, [slot.shape for slot in candidate.slots])
            copy = fetch(candidate) if fits else None
            if copy is None:
                continue
            paired = aligned_to(weights, candidate.code, copy.values, copy.tables)
            second = detection_of(paired, candidate.code, math.log(tries))
            if second.z > detection.z:
                detection, key, record, aligned = second, candidate_key, candidate, paired
    # 3.
    blind = aligned is None
    read_one = _reader(weights, record, aligned)
    copies = kept_copies(folder, key.model, record.version_digest) if detection.found else ()
    named = accused(read_one, key, copies)
    payload = blind and record.worded and detection.found and _names(weights, key, record)
    return IdentifiedMark(record, detection, len(marks), blind, payload, named)


def _reader(
    weights: FileWeights, record: MarkRecord, aligned: Sequence[PairedWeight] | None
) -> ReadCode:
    """How a code of that version's copies is read, as the version's own was."""

    def read(code: WatermarkCode, tries: int) -> MarkDetection:
        if aligned is None:
            return read_code(weights, code, record.slots, tries)
        return detection_of(aligned, code, math.log(tries))

    return read


def _names(weights: FileWeights, key: WatermarkKey, record: MarkRecord) -> bool:
    return record.mark.payload in read_payloads(weights, key, record.slots)
