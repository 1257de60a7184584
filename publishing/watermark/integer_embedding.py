"""Marks a model of which only integer weights exist, by steps of one on some weights.

A float mark would add a fraction of a step. Here a weight takes the whole step with that
probability, chosen by the key: the same amount is added on average, and the same reading finds it.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from publishing.serialization import parse_model, serialize_model
from publishing.watermark.embedding import CAPACITY, TARGET, EmbeddingStrength, spread
from publishing.watermark.files import MarkedFile
from publishing.watermark.key import WatermarkCode
from publishing.watermark.pairing import Floats, PairedWeight, numbered, whiten
from publishing.watermark.reading import detection_of
from publishing.watermark.records import WeightSlot
from publishing.watermark.weights import CarrierWeight, read_carriers
from sealgate.reasons import Reason, SealgateError

_ROUNDS = 12
_INTEGERS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


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
    if sum(host.size for host in hosts) < CAPACITY:
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
        spreading = EmbeddingStrength(code, spreading.amplitudes * 1.15)
    else:
        raise SealgateError(Reason.WATERMARK_CAPACITY, "steps of one cannot carry the mark")
    _write(tensors, carriers, found)
    slots = tuple(WeightSlot(c.name, c.values.shape, c.axes) for c in carriers)
    return serialize_model(model), MarkedFile(spreading, slots)


def _step_sizes(model: onnx.ModelProto, carriers: list[CarrierWeight]) -> list[Floats]:
    """What one step is worth at each weight: the difference that it makes to what is read."""
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
