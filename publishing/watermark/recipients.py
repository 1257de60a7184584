"""Copies for recipients: each carries one more mark, under a key of its own, that names who got it.

Recipients who average their copies weaken each mark by their number, and no more: it is made so
strong that of the mean of five copies at least one is still named. Nobody is named unless the
chance that an uninvolved one would be, among all who got a copy, is below one in a million.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from publishing.watermark.correlation import Floats
from publishing.watermark.detection import Detection
from publishing.watermark.key import Code, WatermarkKey
from publishing.watermark.spreading import Spreading, spread
from sealgate.reasons import Reason, Refusal
from sealgate.trust import canonical, fields
from sealgate.trust.fields import check_name
from sealgate.trust.keys import read_private_file, write_private_file

FALSE_ACCUSATION = 1e-6
COLLUDERS = 5
# What is read of a copy: of the mean of five, 8 are left, where 6.4 accuse one of a thousand.
TARGET = 40.0
# A stronger mark would be felt: smaller models get a weaker one, and resist fewer colluders.
_MOST = 0.15
_RECIPIENTS = 1_000
_COPY = "sealgate/watermark-copy/v1"
_END = ".copy.json"

# What a code reads in some weights, after paying for so many codes tried.
ReadCode = Callable[[Code, int], Detection]


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """Who got which copy: `parent` is the version's digest, `file` the copy's own."""

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
class Accused:
    """A recipient whose mark was read, after all who got a copy were tried."""

    record: CopyRecord
    detection: Detection


def spread_copy(hosts: Sequence[Floats], code: Code) -> Spreading:
    """How to add a recipient's mark. Raises: WATERMARK_CAPACITY where not even one is named."""
    count = sum(host.size for host in hosts)
    if _MOST * math.sqrt(count) < accusing(_RECIPIENTS) + 3:
        raise Refusal(Reason.WATERMARK_CAPACITY, f"{count} weights cannot name a recipient")
    return spread(hosts, code, min(TARGET, math.sqrt(count) / 2), most=_MOST)


def colluders_named(z: float) -> int:
    """How many copies may be averaged, of a thousand, so that one is named still: at most five."""
    return min(int(z / (accusing(_RECIPIENTS) + 1)), COLLUDERS)


def accusing(recipients: int) -> float:
    """The z that accuses one of so many: recipients * exp(-z^2 / 2) is FALSE_ACCUSATION there."""
    return math.sqrt(2 * math.log(max(recipients, 1) / FALSE_ACCUSATION))


def accused(read: ReadCode, key: WatermarkKey, copies: Sequence[CopyRecord]) -> tuple[Accused, ...]:
    """The recipients, of those of one version, whose marks are read; the surest first.

    z and bound have been paid for: by searching, and by trying all recipients.
    """
    limit = math.log10(FALSE_ACCUSATION)
    tried = [
        Accused(copy, read(key.recipient(copy.parent, copy.recipient), len(copies)))
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
