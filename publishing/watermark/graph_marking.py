"""Marks a version's two graphs, which share their weights.

With enough weights, the mark carries the payload that names its version; otherwise its presence
alone identifies the version. A mark is added as weakly as the required reading allows.

Spread spectrum (Cox et al., IEEE Trans. Image Processing 6, 1997) with informed embedding: what
the code already reads in the weights is known, so only the rest is added. One amplitude serves all
matrices, in units of each matrix's own spread: by Cauchy-Schwarz no other division of the same
correlation moves the weights less, relative to their spread. With a payload, each bit has its own
amplitude, so that all bits are read with the same margin.

Of a network that was trained to be certified, half of the weights are near zero. By an amplitude on
those the sums of |w| grow that its bounds are made of, and its certificates are lost. So in a
network with many weights near zero none moves by more than its own size: sizes grow as often as
they shrink, and zeros stay zeros.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from publishing.serialization import parse_model
from publishing.watermark import key as payloads
from publishing.watermark.carrier_weights import read_carriers, write_carriers
from publishing.watermark.correlation import (
    CorrelationSums,
    Floats,
    Wide,
    correlate,
    log_ways,
    numbered,
    whiten,
)
from publishing.watermark.detection import MarkDetection, detect
from publishing.watermark.key import Mark, WatermarkCode, chips, rolled
from publishing.watermark.mark_records import WeightSlot
from sealgate.reasons import Reason, SealgateError

_ROUNDS = 12
# A bit that falls short is raised by so much more: each bit's amplitude widens the spread that all
# are read by, and otherwise every round would leave a little to the next.
_AMPLE = 1.005
_PIECE = 1 << 16
# Near zero is below so much of the spread, and many are so many. Of normal weights .08 are.
_NEAR, _MANY = 0.1, 0.35
# Where the others had to move by more, all move instead: of a network of which three quarters are
# zero, half a spread on the rest costs a point of accuracy more than an eighth on all.
_MOST_HELD = 0.35
# The values that a file stores for its weight at a place.
Stored = Callable[[int, Floats], Floats]


@runtime_checkable
class ReadWhenNeeded(Protocol):
    """Weights that are read each time they are asked for; their shapes are known before."""

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """The shape of each."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddingStrength:
    """How strongly a code is added: by bit of its payload, or one number, in units of each matrix's
    spread. `held`: to no weight more than its own size.
    """

    code: WatermarkCode
    amplitudes: Wide
    held: bool = False

    @property
    def amplitude(self) -> float:
        """The root of the mean square over the bits."""
        return math.sqrt(float(np.mean(self.amplitudes**2)))

    def apply(self, hosts: Sequence[Floats]) -> Iterator[Floats]:
        """Each host with its signs added, one at a time."""
        for host, (shape, ordinal) in zip(hosts, numbered(_shapes(hosts)), strict=True):
            yield self.shift(host, shape, ordinal)

    def shift(self, host: Floats, shape: tuple[int, ...], ordinal: int) -> Floats:
        """The `ordinal`-th host of this shape with its signs added."""
        spread = spread_of(host)
        rows = chips(self.code.secret, self.code.model, shape, ordinal).reshape(shape[0], -1)
        if self.code.payload is None:
            shifts = np.float32(self.amplitudes[0] * spread) * rows.astype(np.float32)
        else:
            word = payloads.codeword(self.code.payload)
            steps = (self.amplitudes * word * spread).astype(np.float32)
            shifts = rolled(steps, rows.shape[1])[self.code.starts(shape, ordinal)]
            shifts *= rows
        if self.held:
            _hold(shifts.reshape(-1), host.reshape(-1))
        shifts += host.reshape(rows.shape)
        return shifts.reshape(shape)


def _hold(shifts: Floats, weights: Floats) -> None:
    """Let none be larger than its weight; a piece at a time, as `spread_of`."""
    for start in range(0, shifts.size, _PIECE):
        piece = slice(start, start + _PIECE)
        most = np.abs(weights[piece])
        np.clip(shifts[piece], -most, most, out=shifts[piece])


def spread(
    hosts: Sequence[Floats],
    code: WatermarkCode,
    wanted: float,
    most: float = math.inf,
    stored: Stored = lambda _, values: values,
) -> EmbeddingStrength:
    """The least amplitudes, up to `most`, with which each bit, or the whole without a payload, is
    read with `wanted` standard deviations in what is `stored` of the marked weights. They are held
    where many weights are near zero and `_MOST_HELD` is enough.

    No host may be constant. Raises: WATERMARK_CAPACITY where the weights cannot reach it.
    """
    bits = max(code.bits, 1)
    word = _word(code)
    zeros = _NearZero()
    unmarked = _read(map(zeros.counted, hosts), code)
    if np.any(unmarked.counts <= wanted**2):
        raise SealgateError(
            Reason.WATERMARK_CAPACITY,
            f"{unmarked.counts.min():.0f} weights a bit cannot reach {wanted:.2f}",
        )
    missing = unmarked.strengths * word < wanted
    if not missing.any():
        return EmbeddingStrength(code, np.zeros(bits))
    amplitudes = np.where(missing, _closed_form(unmarked, word, wanted), 0.0)
    if zeros.many:
        found = _reaching(hosts, EmbeddingStrength(code, amplitudes, True), wanted, most, stored)
        # A bit alone may take more.
        if found is not None and found.amplitude < _MOST_HELD and np.all(found.amplitudes < most):
            return found
    found = _reaching(hosts, EmbeddingStrength(code, amplitudes), wanted, most, stored)
    if found is None:
        raise SealgateError(
            Reason.WATERMARK_CAPACITY, f"{wanted:.2f} is out of reach in {_ROUNDS} rounds"
        )
    return found


def _reaching(
    hosts: Sequence[Floats], first: EmbeddingStrength, wanted: float, most: float, stored: Stored
) -> EmbeddingStrength | None:
    """From the first amplitudes on, those with which each bit that is not at `most` is read as
    `wanted`; None where that takes too many rounds.
    """
    code, amplitudes = first.code, first.amplitudes
    word = _word(code)
    for _ in range(_ROUNDS):
        amplitudes = np.minimum(_round_up(amplitudes), most)
        found = replace(first, amplitudes=amplitudes)
        # Clipping and the marked matrix's own, wider spread take a little: make up for it.
        kept = (stored(place, marked) for place, marked in enumerate(found.apply(hosts)))
        strengths = _read(kept, code).strengths * word
        short = (strengths < wanted) & (amplitudes < most)
        if not short.any():
            return found
        raised = np.maximum(amplitudes, 1e-4) * _AMPLE * wanted / np.maximum(strengths, 1.0)
        amplitudes = np.where(short, raised, amplitudes)
    return None


@dataclass(slots=True)
class _NearZero:
    """How many of the weights that passed are near zero."""

    near: int = 0
    every: int = 0

    @property
    def many(self) -> bool:
        return self.near >= _MANY * self.every

    def counted(self, host: Floats) -> Floats:
        flat, least = host.reshape(-1), _NEAR * spread_of(host)
        for start in range(0, flat.size, _PIECE):
            self.near += int(np.count_nonzero(np.abs(flat[start : start + _PIECE]) < least))
        self.every += flat.size
        return host


def _word(code: WatermarkCode) -> npt.NDArray[np.int8]:
    """The sign of each of its amplitudes."""
    return payloads.codeword(code.payload) if code.payload is not None else np.ones(1, np.int8)


def _shapes(hosts: Sequence[Floats]) -> Sequence[tuple[int, ...]]:
    return hosts.shapes if isinstance(hosts, ReadWhenNeeded) else [host.shape for host in hosts]


def spread_of(host: Floats) -> float:
    """The standard deviation, summed in double precision a piece at a time: a copy of the whole
    would take twice the room of the weights.
    """
    flat = host.reshape(-1)
    first = second = 0.0
    for start in range(0, flat.size, _PIECE):
        piece = flat[start : start + _PIECE].astype(np.float64)
        first += float(piece.sum())
        second += float(piece @ piece)
    return math.sqrt(max(second / flat.size - (first / flat.size) ** 2, 0.0))


def _read(hosts: Sequence[Floats] | Iterator[Floats], code: WatermarkCode) -> CorrelationSums:
    def pieces() -> Iterator[CorrelationSums]:
        counts: dict[tuple[int, ...], int] = {}
        for host in hosts:
            ordinal = counts.get(host.shape, 0)
            counts[host.shape] = ordinal + 1
            yield correlate(whiten(host), code, host.shape, ordinal)

    return CorrelationSums.of(pieces(), code.bits)


def _closed_form(sums: CorrelationSums, word: npt.NDArray[np.int8], wanted: float) -> Wide:
    """The amplitudes a for which (C + aN) / sqrt(V + 2aC + a^2 N) is wanted; C, V, N: `sums`.

    Adding a times the chips to whitened weights adds aN to the product and 2aC + a^2 N to the
    energy; squaring gives a quadratic, whose larger root has the right sign.
    """
    square, products, counts = wanted * wanted, sums.products * word, sums.counts
    lead = counts * (counts - square)
    half = products * (counts - square)
    rest = products**2 - square * sums.energies
    root: Wide = (-half + np.sqrt(np.maximum(half * half - lead * rest, 0.0))) / lead
    return np.maximum(root, 0.0)


def _round_up(amplitudes: Wide) -> Wide:
    """Up to four significant digits, so that the last bits of a sum do not reach the weights."""
    return np.array([_round_one_up(float(each)) for each in amplitudes])


def _round_one_up(amplitude: float) -> float:
    if amplitude == 0:
        return 0.0
    places = 3 - math.floor(math.log10(amplitude))
    return round(math.ceil(amplitude * 10**places) / 10**places, places)


# The z of a mark without payload, after correcting for any search.
TARGET = 16.0
# The z of each bit of a payload.
MARGIN = 6.0
# Fewer weights need an amplitude that is felt: 16 / sqrt(15000) is 0.13 of the spread.
MARK_CAPACITY = 15_000
# A payload is written where this amplitude gives each bit 4 standard deviations.
_FELT, _LEAST_MARGIN = 0.1, 4.0
PAYLOAD_CAPACITY = math.ceil(payloads.PAYLOAD_BITS * (_LEAST_MARGIN / _FELT) ** 2)


@dataclass(frozen=True, slots=True)
class MarkedGraphs:
    """Two graphs that carry one mark. `amplitude` is in units of each matrix's spread."""

    serving: bytes
    response: bytes
    code: WatermarkCode
    amplitude: float
    slots: tuple[WeightSlot, ...]
    detection: MarkDetection

    @property
    def graphs(self) -> tuple[bytes, bytes]:
        return self.serving, self.response


def embed_mark(serving: bytes, response: bytes, mark: Mark, target: float = TARGET) -> MarkedGraphs:
    """Marks the fp32 weights of the serving graph, and the same initializers of the response graph.

    `target` is the z that the mark reads afterwards where it has no payload.
    Raises: FORMAT_REFUSED, EXTERNAL_DATA; GRAPH_MISMATCH where the response graph lacks a weight
    or holds another; WATERMARK_CAPACITY where there are too few weights.
    """
    serving_model, response_model = parse_model(serving), parse_model(response)
    carriers = [each for each in read_carriers(serving_model) if whiten(each.values).any()]
    hosts = [carrier.values for carrier in carriers]
    spreading = spread_mark(hosts, mark, target)
    marked = list(spreading.apply(hosts))
    return MarkedGraphs(
        serving=write_carriers(serving_model, carriers, marked),
        response=write_carriers(response_model, carriers, marked),
        code=spreading.code,
        amplitude=spreading.amplitude,
        slots=tuple(WeightSlot(each.name, each.values.shape, each.axes) for each in carriers),
        detection=detect(marked, spreading.code),
    )


def spread_mark(
    hosts: Sequence[Floats],
    mark: Mark,
    target: float = TARGET,
    stored: Stored = lambda _, values: values,
) -> EmbeddingStrength:
    """How to add the mark to these weights, none of which is constant: it is read in what is
    `stored` of them.

    Raises: WATERMARK_CAPACITY.
    """
    shapes = _shapes(hosts)
    count = sum(map(math.prod, shapes))
    if count < MARK_CAPACITY:
        raise SealgateError(
            Reason.WATERMARK_CAPACITY, f"{count} weights can carry, {MARK_CAPACITY} must"
        )
    # Twice: read as they come, or searched for.
    price = 2 * (log_ways(shapes, shapes) + math.log(2))
    wanted = math.sqrt(target**2 + price)
    code = mark.code(worded=count >= PAYLOAD_CAPACITY)
    if code.bits:
        wanted = max(MARGIN, wanted / math.sqrt(code.bits))
    return spread(hosts, code, wanted, stored=stored)
