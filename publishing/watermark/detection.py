"""Detects marks in any file that may hold our weights.

Weights are matched first by name, then by their order, then by their shape and by the chips, since
names and layouts may be gone.

The whitened weights are correlated with the chips of a code. Under a key chosen without sight of
the weights, the chips are independent fair signs, so Hoeffding's inequality (JASA 58, 1963) bounds
the chance of reading z or more by exp(-z^2 / 2), whatever the weights are and whatever was done to
them.

In a file whose names and order are not ours, matrices of one shape cannot be told apart. They are
first taken in their order. Only if that reads nothing, the most likely pairing with the chips,
transposed if necessary, is searched for (`pairing`). Every search is corrected for: with T ways the
bound is T exp(-z^2 / 2), and the reported z is the smaller one that would be as unlikely without a
search.

A key chosen after the fact weakens the claim: 2^40 keys can be tried, against which z >= 12 stands
(2^-103 each), and a commitment logged before the release shows that none were.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from publishing.serialization import parse_model
from publishing.watermark import key as payloads
from publishing.watermark.carrier_weights import CarrierWeight, read_carriers, read_others
from publishing.watermark.correlation import (
    CorrelationSums,
    Floats,
    PairedWeight,
    as_they_come,
    correlate,
    log_ways,
    numbered,
    search,
    whiten,
)
from publishing.watermark.key import WatermarkCode, WatermarkKey
from publishing.watermark.mark_records import WeightSlot
from publishing.watermark.safetensors_file import TensorFile

MARK_THRESHOLD = 12.0
# No claim is stronger than this: below it, the key's own secrecy is the weaker link.
_BOUND_CAP = -128 * math.log10(2)
# Taken as they come, or searched for.
_LOG_SEARCH_STAGES = math.log(2)


@dataclass(frozen=True, slots=True)
class MarkDetection:
    """A code's detection statistics in some weights."""

    z: float
    log10_bound: float
    weights: int
    bits: int = 0
    bit_errors: int = 0

    @property
    def found(self) -> bool:
        return self.z >= MARK_THRESHOLD


def detect(weights: Iterable[Floats], code: WatermarkCode) -> MarkDetection:
    """Reads the mark of `code` in matrices and convolutions, output channels first, in any order.

    Needs neither the unmarked weights nor their names.
    """
    hosts = [white for white in map(whiten, weights) if white.any()]
    shapes = [host.shape for host in hosts]
    searched = log_ways(shapes, shapes)
    price = _LOG_SEARCH_STAGES if searched else 0.0
    first = detection_of(as_they_come(hosts, shapes), code, price)
    if first.found or not searched:
        return first
    second = detection_of(search(hosts, shapes, code), code, price + searched)
    return max(first, second, key=lambda each: each.z)


def sums_of(paired: Iterable[PairedWeight], code: WatermarkCode) -> CorrelationSums:
    """All correlations of weights paired so, by the bits of the code's payload."""
    pieces = (correlate(each.values, code, each.shape, each.ordinal) for each in paired)
    return CorrelationSums.of(pieces, code.bits)


def pay(z: float, log_price: float) -> float:
    """The z which, found at the first try, is as unlikely as this one among exp(log_price)."""
    if z <= 0 or not log_price:
        return z
    return math.sqrt(max(z * z - 2 * log_price, 0.0))


def detection_of(
    paired: Iterable[PairedWeight], code: WatermarkCode, log_price: float
) -> MarkDetection:
    """The detection of `code` in these pairs, corrected for exp(log_price) ways of pairing."""
    sums = sums_of(paired, code)
    word = payloads.codeword(code.payload) if code.payload is not None else None
    z = pay(sums.z(word), log_price)
    bound = max(-z * z / 2 / math.log(10), _BOUND_CAP) if z > 0 else 0.0
    errors = int(np.sum(sums.products * word <= 0)) if word is not None else 0
    return MarkDetection(z, bound, int(sums.counts.sum()), code.bits, errors)


def detect_named(
    weights: Iterable[tuple[str, Floats]], slots: Sequence[WeightSlot], code: WatermarkCode
) -> MarkDetection:
    """The detection of `code` in the weights that have the name and shape of a slot; one weight is
    in memory at a time.
    """
    shapes = numbered(slot.shape for slot in slots)
    places = {slot.name: place for slot, place in zip(slots, shapes, strict=True)}

    def paired() -> Iterator[PairedWeight]:
        for name, values in weights:
            shape, ordinal = places.get(name, ((), 0))
            if values.shape == shape:
                yield PairedWeight(whiten(values), shape, ordinal)

    return detection_of(paired(), code, 0.0)


# By name, as they come, or searched for.
_LOG_STAGES = math.log(3)
# Suffixes that ONNX Runtime and others add to a weight's name.
_ENDINGS = ("_quantized", "_Q4", "_Q4G32", "_transposed", "_Transposed", "_q")


@dataclass(frozen=True, eq=False)
class FileWeights:
    """The weights of a file. With a `graph`, `ordered` come in the layout and order of the nodes
    that read them, else as they lie; `others` could be weights too, of a graph that was rewritten.
    """

    graph: bool
    ordered: tuple[CarrierWeight, ...]
    others: tuple[CarrierWeight, ...] = ()

    @cached_property
    def white(self) -> dict[str, Floats]:
        """Whitened, by name; without what is constant and tells nothing."""
        found = {each.name: whiten(each.values) for each in (*self.ordered, *self.others)}
        return {name: values for name, values in found.items() if values.any()}

    @property
    def hosts(self) -> list[Floats]:
        """The whitened weights in order."""
        return [self.white[each.name] for each in self.ordered if each.name in self.white]

    def slots(self, *, integers: bool) -> tuple[WeightSlot, ...]:
        """Where a mark of these weights lies: in all that are floats, or all that are integers."""
        return tuple(
            WeightSlot(each.name, each.values.shape, each.axes)
            for each in self.ordered
            if each.integers is integers and each.name in self.white
        )

    def named(self, slots: Sequence[WeightSlot]) -> list[PairedWeight]:
        """Those that bear the name of a slot and have its shape."""
        by_name = {_stem(name): values for name, values in self.white.items()}
        paired = []
        places = numbered(slot.shape for slot in slots)
        for slot, (shape, ordinal) in zip(slots, places, strict=True):
            values = by_name.get(_stem(slot.name))
            if values is None:
                continue
            if not self.graph and values.ndim == len(slot.axes):
                # A file that keeps the names keeps the marked file's layout.
                turned = values.transpose(slot.axes)
                values = np.ascontiguousarray(turned) if turned.shape == shape else values
            if values.shape == shape:
                paired.append(PairedWeight(values, shape, ordinal))
        return paired


def weights_of(path: str, data: bytes) -> FileWeights:
    """The weights of a safetensors file, or of an ONNX file, which has any other name.

    Raises: FORMAT_REFUSED where it is neither, malformed, or not finite; EXTERNAL_DATA.
    """
    if path.endswith(".safetensors"):
        return FileWeights(False, TensorFile.parse(np.frombuffer(data, np.uint8)).carriers())
    model = parse_model(data)
    carriers = read_carriers(model)
    return FileWeights(True, carriers, read_others(model, carriers))


def read_code(
    weights: FileWeights, code: WatermarkCode, slots: Sequence[WeightSlot], tries: int = 1
) -> MarkDetection:
    """The detection of `code` in the weights, by the first of the three ways that finds the mark,
    or the best of them. `tries` is how many codes are tried on this file in all.
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


def read_payloads(
    weights: FileWeights, key: WatermarkKey, slots: Sequence[WeightSlot]
) -> tuple[bytes, ...]:
    """The payloads, mended, that these weights may carry under the key: by name, and as they come.
    Of unmarked weights none, or nobody's.
    """
    code = key.worded(bytes(payloads.MARK_PAYLOAD_BYTES))
    shapes = [slot.shape for slot in slots]
    ways = (weights.named(slots), as_they_come(weights.hosts, shapes))
    found = (payloads.decode_payload(sums_of(paired, code).strengths) for paired in ways if paired)
    return tuple(dict.fromkeys(payload for payload in found if payload is not None))


def _better(first: MarkDetection, second: MarkDetection) -> MarkDetection:
    return second if second.z > first.z else first


def _stem(name: str) -> str:
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
