"""Any file that may hold our weights, and what a code reads in it.

Weights are looked for by name first, then in the order in which they come, then by their shape and
what the chips say of them: names and layouts may be gone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from publishing.graphs import parse_model
from publishing.watermark import payload as payloads
from publishing.watermark.correlation import Floats, whiten
from publishing.watermark.detection import Detection, detection_of, sums_of
from publishing.watermark.key import Code, WatermarkKey
from publishing.watermark.pairing import Paired, as_they_come, log_ways, numbered, search
from publishing.watermark.records import Slot
from publishing.watermark.tensor_file import TensorFile
from publishing.watermark.weights import Carrier, read_carriers, read_others

# By name, as they come, or searched for.
_LOG_STAGES = math.log(3)
# What ONNX Runtime and others put behind a weight's name.
_ENDINGS = ("_quantized", "_Q4", "_Q4G32", "_transposed", "_Transposed", "_q")


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a file. With a `graph`, `ordered` come in the layout and order of the nodes
    that read them, else as they lie; `others` could be weights too, of a graph that was rewritten.
    """

    graph: bool
    ordered: tuple[Carrier, ...]
    others: tuple[Carrier, ...] = ()

    @cached_property
    def white(self) -> dict[str, Floats]:
        """Whitened, by name; without what is constant and tells nothing."""
        found = {each.name: whiten(each.values) for each in (*self.ordered, *self.others)}
        return {name: values for name, values in found.items() if values.any()}

    @property
    def hosts(self) -> list[Floats]:
        """The whitened weights in order."""
        return [self.white[each.name] for each in self.ordered if each.name in self.white]

    def slots(self, *, integers: bool) -> tuple[Slot, ...]:
        """Where a mark of these weights lies: in all that are floats, or all that are integers."""
        return tuple(
            Slot(each.name, each.values.shape, each.axes)
            for each in self.ordered
            if each.integers is integers and each.name in self.white
        )

    def named(self, slots: Sequence[Slot]) -> list[Paired]:
        """Those that bear the name of a slot and have its shape."""
        by_name = {_stem(name): values for name, values in self.white.items()}
        paired = []
        places = numbered(slot.shape for slot in slots)
        for slot, (shape, ordinal) in zip(slots, places, strict=True):
            values = by_name.get(_stem(slot.name))
            if values is None:
                continue
            if not self.graph and values.ndim == len(slot.axes):
                # Whoever keeps the names keeps the layout that the marked file has.
                turned = values.transpose(slot.axes)
                values = np.ascontiguousarray(turned) if turned.shape == shape else values
            if values.shape == shape:
                paired.append(Paired(values, shape, ordinal))
        return paired


def weights_of(path: str, data: bytes) -> Weights:
    """The weights of a safetensors file, or of an ONNX file, which has any other name.

    Raises: FORMAT_REFUSED where it is neither, malformed, or not finite; EXTERNAL_DATA.
    """
    if path.endswith(".safetensors"):
        return Weights(False, TensorFile.parse(np.frombuffer(data, np.uint8)).carriers())
    model = parse_model(data)
    carriers = read_carriers(model)
    return Weights(True, carriers, read_others(model, carriers))


def read_code(weights: Weights, code: Code, slots: Sequence[Slot], tries: int = 1) -> Detection:
    """What `code` reads in the weights, by the first of the three ways that finds the mark, or the
    best of them. `tries` is how many codes are tried on this file in all.
    """
    price = _LOG_STAGES + math.log(tries)
    shapes = [slot.shape for slot in slots]
    best = detection_of(weights.named(slots), code, price)
    if best.found:
        return best
    best = _better(best, detection_of(as_they_come(weights.hosts, shapes), code, price))
    if best.found:
        return best
    hosts = list(weights.white.values())
    searched = log_ways([host.shape for host in hosts], shapes)
    found = detection_of(search(hosts, shapes, code), code, price + searched)
    return _better(best, found)


def read_payloads(weights: Weights, key: WatermarkKey, slots: Sequence[Slot]) -> tuple[bytes, ...]:
    """The payloads, mended, that these weights may carry under the key: by name, and as they come.
    Of unmarked weights none, or nobody's.
    """
    code = key.worded(bytes(payloads.SIZE))
    shapes = [slot.shape for slot in slots]
    ways = (weights.named(slots), as_they_come(weights.hosts, shapes))
    found = (payloads.decode(sums_of(paired, code).strengths) for paired in ways if paired)
    return tuple(dict.fromkeys(payload for payload in found if payload is not None))


def _better(first: Detection, second: Detection) -> Detection:
    return second if second.z > first.z else first


def _stem(name: str) -> str:
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
