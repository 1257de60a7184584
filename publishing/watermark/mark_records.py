"""The publisher's records of marks: the files in a profile's `watermark_keys`.

MODEL.key.json              the model's key
MODEL-COMMITMENT.mark.json  a mark: its payload, its commitment's entry, and where it lies
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publishing.watermark import key as payloads
from publishing.watermark.key import (
    MARK_SECRET_BYTES,
    Mark,
    WatermarkCode,
    WatermarkKey,
    load_watermark_key,
    save_watermark_key,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.remote import Profile
from sealgate.trust import canonical, fields
from sealgate.trust.keys import read_private_file, write_private_file

_MARK = "sealgate/watermark-mark/v1"
_KEY_END, _MARK_END = ".key.json", ".mark.json"
# A line for each weight that carries the mark.
_LARGEST = 1 << 24


@dataclass(frozen=True, slots=True)
class WeightSlot:
    """A weight that carries the mark, as it was when it was marked: its name, its shape with output
    channels first, and the axes that lead there from the file's own. Among slots of one shape, the
    order is that of the chips.
    """

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MarkRecord:
    """The publisher's record of a mark, apart from the key."""

    mark: Mark
    worded: bool
    entry: int
    version_digest: str
    slots: tuple[WeightSlot, ...]

    @property
    def code(self) -> WatermarkCode:
        return self.mark.code(worded=self.worded)


def save_mark(path: Path, record: MarkRecord) -> None:
    """Writes a new file that its owner alone can read, beside the key's. Raises: KEY_FILE_EXISTS,
    and OSError.
    """
    document = {
        "type": _MARK,
        "model": record.mark.key.model,
        "payload": record.mark.payload.hex(),
        "unmarked": record.mark.unmarked,
        "commitment": record.mark.commitment,
        "worded": record.worded,
        "entry": record.entry,
        "version_digest": record.version_digest,
        "slots": write_slots(record.slots),
    }
    write_private_file(path, canonical.encode(document))


def load_mark(path: Path, key: WatermarkKey) -> MarkRecord:
    """Reads what `save_mark` wrote of a mark of this key.

    Raises: KEY_FILE_EXPOSED, KEY_UNREADABLE; DOCUMENT_MALFORMED, also where the key is another.
    """
    names = ("model", "payload", "unmarked", "commitment", "worded", "entry", "version_digest")
    document = fields.record(
        canonical.decode(read_private_file(path, _LARGEST)), (*names, "slots"), kind=_MARK
    )
    mark = Mark(
        key, fields.unhex(document["payload"], payloads.MARK_PAYLOAD_BYTES), document["unmarked"]
    )
    if (document["model"], document["commitment"]) != (key.model, mark.commitment):
        raise fields.malformed("the mark is not one of this key")
    if type(document["worded"]) is not bool:
        raise fields.malformed("worded is true or false")
    return MarkRecord(
        mark,
        document["worded"],
        fields.integer(document["entry"]),
        canonical.check_digest(document["version_digest"]),
        read_slots(document["slots"]),
    )


def write_slots(slots: Iterable[WeightSlot]) -> list[Any]:
    """As JSON."""
    return [{"name": s.name, "shape": list(s.shape), "axes": list(s.axes)} for s in slots]


def read_slots(value: Any) -> tuple[WeightSlot, ...]:
    """The slots that `write_slots` wrote. Raises SealgateError(DOCUMENT_MALFORMED)."""
    return tuple(map(_slot, fields.items(value)))


def _slot(value: Any) -> WeightSlot:
    item = fields.record(value, ("name", "shape", "axes"))
    shape = tuple(fields.integer(size, 1) for size in fields.items(item["shape"]))
    axes = tuple(fields.integer(axis) for axis in fields.items(item["axes"]))
    if sorted(axes) != list(range(len(shape))):
        raise fields.malformed("the axes of a slot are not a permutation")
    return WeightSlot(fields.text(item["name"]), shape, axes)


def watermark_folder(person: Profile) -> Path:
    """The folder of the profile, made if it is not there. Raises: KEY_UNREADABLE without one."""
    if person.watermark_keys is None:
        raise SealgateError(Reason.KEY_UNREADABLE, "the profile names no watermark_keys")
    person.watermark_keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    return person.watermark_keys


def new_mark(folder: Path, model: str, unmarked: str, random_bytes: Callable[[int], bytes]) -> Mark:
    """A mark under the model's key, which is made where there is none. `unmarked` is the digest of
    the file that is to be marked. Raises: as `load_watermark_key`.
    """
    path = key_path(folder, model)
    if not path.exists():
        save_watermark_key(path, WatermarkKey(model, random_bytes(MARK_SECRET_BYTES)))
    return Mark(load_watermark_key(path), random_bytes(payloads.MARK_PAYLOAD_BYTES), unmarked)


def key_path(folder: Path, model: str) -> Path:
    """Where the model's key is kept."""
    return folder / f"{model}{_KEY_END}"


def mark_path(folder: Path, mark: Mark) -> Path:
    """Where a mark is kept."""
    short = mark.commitment.removeprefix("sha256:")[:16]
    return folder / f"{mark.key.model}-{short}{_MARK_END}"


def kept_keys(folder: Path) -> Iterator[WatermarkKey]:
    """Every key in the folder, by the model's name. Raises: as `load_watermark_key`."""
    for path in sorted(folder.glob(f"*{_KEY_END}")):
        yield load_watermark_key(path)


def kept_marks(folder: Path, key: WatermarkKey) -> tuple[MarkRecord, ...]:
    """Every mark of the key in the folder, in the order of their commitments.

    Raises: as `load_mark`.
    """
    stem = f"{key.model}-"
    hexadecimal = "[0-9a-f]" * 16
    records = [load_mark(path, key) for path in folder.glob(f"{stem}{hexadecimal}{_MARK_END}")]
    return tuple(sorted(records, key=lambda record: (record.entry, record.mark.commitment)))
