"""Marks a file: float32 ONNX, safetensors tensor by tensor, or a model of integer weights alone.

A float mark would add a fraction of a step to integers. So a weight takes the whole step with that
probability, chosen by the key: the same amount is added on average, and the same reading finds it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from publishing.serialization import parse_model, serialize_model
from publishing.watermark.carrier_weights import CarrierWeight, read_carriers, write_carriers
from publishing.watermark.correlation import Floats, PairedWeight, numbered, whiten
from publishing.watermark.detection import detection_of
from publishing.watermark.graph_marking import MARK_CAPACITY, TARGET, EmbeddingStrength, spread
from publishing.watermark.key import WatermarkCode
from publishing.watermark.mark_records import WeightSlot
from publishing.watermark.safetensors_file import TensorFile, write_tensor_file
from sealgate.reasons import Reason, SealgateError

SAFETENSORS = ".safetensors"
Choose = Callable[[Sequence[Floats]], EmbeddingStrength]
ChooseStored = Callable[["ShardTensors"], EmbeddingStrength]
_ROUNDS = 12
_INTEGERS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


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
        """The values as the file of that tensor stores them: it may have fewer bits for each."""
        file, name = self._places[place]
        return file.kept(name, values)


def _mapped(path: Path) -> Any:
    """The bytes of a file, not read before they are asked for."""
    if not path.is_file() or path.stat().st_size == 0:
        raise SealgateError(Reason.FORMAT_REFUSED, f"{path}: not a safetensors file")
    return np.memmap(path, np.uint8, "r")


def mark_integers(
    data: bytes, code: WatermarkCode, target: float = TARGET
) -> tuple[bytes, MarkedFile]:
    """The INT8 ONNX model with the mark of `code`, a presence, read with `target` afterwards.

    No weight moves by more than one step, and none beyond the range that the file uses.
    Raises: FORMAT_REFUSED, EXTERNAL_DATA, WATERMARK_CAPACITY.
    """
    model = parse_model(data)
    tensors = {t.name: t for t in model.graph.initializer if t.data_type in _INTEGERS}
    carriers = [
        each for each in read_carriers(model) if each.integers and whiten(each.values).any()
    ]
    hosts = [carrier.values for carrier in carriers]
    if sum(host.size for host in hosts) < MARK_CAPACITY:
        raise SealgateError(Reason.WATERMARK_CAPACITY, "too few integers to carry a mark")
    sizes = _step_sizes(model, carriers)
    spreading = spread(hosts, code, target)
    for _ in range(_ROUNDS):
        steps = _steps(hosts, sizes, spreading)
        found = _marked(tensors, carriers, steps)
        moved = [host + step * size for host, step, size in zip(hosts, found, sizes, strict=True)]
        places = numbered(host.shape for host in hosts)
        paired = [PairedWeight(whiten(m), *place) for m, place in zip(moved, places, strict=True)]
        if detection_of(paired, code, 0.0).z >= target:
            break
        spreading = replace(spreading, amplitudes=spreading.amplitudes * 1.15)
    else:
        raise SealgateError(Reason.WATERMARK_CAPACITY, "steps of one cannot carry the mark")
    _write(tensors, carriers, found)
    slots = tuple(WeightSlot(c.name, c.values.shape, c.axes) for c in carriers)
    return serialize_model(model), MarkedFile(spreading, slots)


def _step_sizes(model: onnx.ModelProto, carriers: list[CarrierWeight]) -> list[Floats]:
    """The size of one step at each weight: the change that it makes to the weight's value."""
    names = {carrier.name for carrier in carriers}
    read = []
    for value in (0, 1):
        probe = onnx.ModelProto()
        probe.CopyFrom(model)
        for tensor in probe.graph.initializer:
            if tensor.name in names:
                array = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, value), tensor.name))
        read.append({each.name: each.values for each in read_carriers(probe)})
    return [read[1][c.name] - read[0][c.name] for c in carriers]


def _steps(
    hosts: list[Floats], sizes: list[Floats], spreading: EmbeddingStrength
) -> list[npt.NDArray[np.int8]]:
    steps = []
    for host, size, (shape, ordinal) in zip(
        hosts, sizes, numbered(host.shape for host in hosts), strict=True
    ):
        parts = (spreading.shift(host, shape, ordinal) - host) / np.where(size == 0, np.inf, size)
        chosen = _chances(spreading.code, shape, ordinal) < np.abs(parts)
        steps.append((np.sign(parts) * chosen).astype(np.int8))
    return steps


def _marked(
    tensors: dict[str, onnx.TensorProto],
    carriers: list[CarrierWeight],
    steps: list[npt.NDArray[np.int8]],
) -> list[npt.NDArray[np.int8]]:
    """The steps that stay within the range that the integers have."""
    kept = []
    for carrier, step in zip(carriers, steps, strict=True):
        levels = _levels(tensors[carrier.name]).transpose(carrier.axes)
        moved = levels + step
        kept.append(np.where((moved >= levels.min()) & (moved <= levels.max()), step, 0))
    return kept


def _write(
    tensors: dict[str, onnx.TensorProto],
    carriers: list[CarrierWeight],
    steps: list[npt.NDArray[np.int8]],
) -> None:
    for carrier, step in zip(carriers, steps, strict=True):
        tensor = tensors[carrier.name]
        levels = _levels(tensor) + step.transpose(np.argsort(carrier.axes))
        kind = numpy_helper.to_array(tensor).dtype
        tensor.CopyFrom(numpy_helper.from_array(levels.astype(kind), tensor.name))


def _levels(tensor: onnx.TensorProto) -> npt.NDArray[np.int16]:
    return numpy_helper.to_array(tensor).astype(np.int16)


def _chances(code: WatermarkCode, shape: tuple[int, ...], ordinal: int) -> Floats:
    """Fair numbers in [0, 1), the key's own, for each weight."""
    place = f"steps {shape}#{ordinal}".encode()
    seed = hashlib.sha256(code.secret + place).digest()
    generator = np.random.Philox(key=int.from_bytes(seed[:16], "little"))
    count = int(np.prod(shape))
    words = generator.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]
    return (words.astype(np.float32) / np.float32(65536)).reshape(shape)
