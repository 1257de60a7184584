"""Marks a file: float32 ONNX, or safetensors, whose tensors pass through memory one at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from publishing.serialization import parse_model
from publishing.watermark.embedding import EmbeddingStrength
from publishing.watermark.pairing import Floats, whiten
from publishing.watermark.records import WeightSlot
from publishing.watermark.tensor_file import TensorFile, write_tensor_file
from publishing.watermark.weights import read_carriers, write_carriers
from sealgate.reasons import Reason, SealgateError

SAFETENSORS = ".safetensors"
Choose = Callable[[Sequence[Floats]], EmbeddingStrength]
ChooseStored = Callable[["ShardTensors"], EmbeddingStrength]


@dataclass(frozen=True, slots=True)
class MarkedFile:
    """The strength of the mark in a file, and the weights that carry it."""

    spreading: EmbeddingStrength
    slots: tuple[WeightSlot, ...]


def mark_file(
    source: Path, target: Path, choose: Choose, metadata: Mapping[str, str]
) -> MarkedFile:
    """Writes `target`, a new file: the source with what `choose` chooses for its weights added, and
    with `metadata`, kept as the format keeps it.

    Raises: FORMAT_REFUSED, EXTERNAL_DATA; what `choose` raises; OSError where a file cannot be read
    or written, or the target exists.
    """
    if source.suffix == SAFETENSORS:
        return mark_shards([source], [target], choose, metadata)
    marked, found = mark_model(source.read_bytes(), choose, metadata)
    with target.open("xb") as file:
        file.write(marked)
    return found


def mark_model(
    data: bytes, choose: Choose, metadata: Mapping[str, str]
) -> tuple[bytes, MarkedFile]:
    """The same for the bytes of a float32 ONNX model."""
    model = parse_model(data)
    carriers = [each for each in read_carriers(model) if whiten(each.values).any()]
    hosts = [carrier.values for carrier in carriers]
    spreading = choose(hosts)
    marked = write_carriers(model, carriers, list(spreading.apply(hosts)))
    slots = tuple(WeightSlot(each.name, each.values.shape, each.axes) for each in carriers)
    return with_notes(marked, metadata), MarkedFile(spreading, slots)


def with_notes(data: bytes, metadata: Mapping[str, str]) -> bytes:
    """The ONNX model with these notes, which no other step of publishing leaves in one."""
    model = parse_model(data)
    for key, value in sorted(metadata.items()):
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString(deterministic=True))


def mark_shards(
    sources: Sequence[Path],
    targets: Sequence[Path],
    choose: ChooseStored,
    metadata: Mapping[str, str],
    skipped: tuple[str, ...] = (),
) -> MarkedFile:
    """The same for safetensors files that are one model's together. Weights with names that end in
    one of `skipped` are left as they are. Raises: as `mark_file`.
    """
    files = [TensorFile.parse(_mapped(source)) for source in sources]
    hosts = ShardTensors(
        [
            (file, name)
            for file in files
            for name in file.floats()
            if not name.endswith(skipped) and whiten(file.floating(name)).any()
        ]
    )
    spreading = choose(hosts)
    shifted = zip(hosts.names, spreading.apply(hosts), strict=True)
    ready = next(shifted, None)

    def replaced(name: str) -> Floats | None:
        nonlocal ready
        if ready is None or ready[0] != name:
            return None
        values, ready = ready[1], next(shifted, None)
        return values

    for file, target in zip(files, targets, strict=True):
        with target.open("xb") as out:
            write_tensor_file(out, file, {**file.metadata, **metadata}, replaced)
    named = zip(hosts.names, hosts.shapes, strict=True)
    slots = [WeightSlot(name, shape, tuple(range(len(shape)))) for name, shape in named]
    return MarkedFile(spreading, tuple(slots))


class ShardTensors(Sequence[Floats]):
    """The tensors of several files, each read when it is needed."""

    def __init__(self, places: Sequence[tuple[TensorFile, str]]) -> None:
        self._places = places
        self.names = [name for _, name in places]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shape of each."""
        return [file.entries[name].shape for file, name in self._places]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        file, name = self._places[place]
        return file.floating(name)

    def stored(self, place: int, values: Floats) -> Floats:
        """What the file of that tensor keeps of values: it may have fewer bits for each."""
        file, name = self._places[place]
        return file.kept(name, values)


def _mapped(path: Path) -> Any:
    """The bytes of a file, not read before they are asked for."""
    if not path.is_file() or path.stat().st_size == 0:
        raise SealgateError(Reason.FORMAT_REFUSED, f"{path}: not a safetensors file")
    return np.memmap(path, np.uint8, "r")
