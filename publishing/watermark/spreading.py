"""Adding a code's signs to weights, as softly as the reading that is wanted allows.

Spread spectrum (Cox et al., IEEE Trans. Image Processing 6, 1997) with informed embedding: what
the code reads in the weights already is known, so only the rest is added. One amplitude serves all
matrices, in units of each matrix's own spread: by Cauchy-Schwarz no other share of the same
correlation moves the weights less, measured against their spread. With a payload, each bit has an
amplitude of its own, so that every one of them is read with the same margin.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from publishing.watermark import payload as payloads
from publishing.watermark.chips import chips
from publishing.watermark.correlation import Floats, Sums, Wide, correlate, whiten
from publishing.watermark.key import Code, rolled
from publishing.watermark.pairing import numbered
from sealgate.reasons import Reason, Refusal

_ROUNDS = 8
_PIECE = 1 << 16
# What a file keeps of the values of its weight at a place.
Stored = Callable[[int, Floats], Floats]


@dataclass(frozen=True, slots=True)
class Spreading:
    """How strongly a code is added: by bit of its payload, or one number, in units of each matrix's
    spread.
    """

    code: Code
    amplitudes: Wide

    @property
    def amplitude(self) -> float:
        """The root of the mean square over the bits."""
        return math.sqrt(float(np.mean(self.amplitudes**2)))

    def apply(self, hosts: Sequence[Floats]) -> Iterator[Floats]:
        """Each host with its signs added, one at a time."""
        for host, (shape, ordinal) in zip(hosts, numbered(h.shape for h in hosts), strict=True):
            yield self.shift(host, shape, ordinal)

    def shift(self, host: Floats, shape: tuple[int, ...], ordinal: int) -> Floats:
        """The `ordinal`-th host of this shape with its signs added."""
        spread = spread_of(host)
        signs = chips(self.code.secret, self.code.model, shape, ordinal)
        if self.code.payload is None:
            step = np.float32(self.amplitudes[0] * spread)
            return host + step * signs.astype(np.float32)
        steps = (self.amplitudes * payloads.codeword(self.code.payload) * spread).astype(np.float32)
        rows = signs.reshape(shape[0], -1)
        shifts = rolled(steps, rows.shape[1])[self.code.starts(shape, ordinal)]
        shifts *= rows
        shifts += host.reshape(rows.shape)
        return shifts.reshape(shape)


def spread(
    hosts: Sequence[Floats],
    code: Code,
    wanted: float,
    most: float = math.inf,
    stored: Stored = lambda _, values: values,
) -> Spreading:
    """The least amplitudes, up to `most`, with which each bit, or the whole without a payload, is
    read with `wanted` standard deviations in what is `stored` of the marked weights.

    No host may be constant. Raises: WATERMARK_CAPACITY where the weights cannot reach it.
    """
    bits = max(code.bits, 1)
    word = payloads.codeword(code.payload) if code.payload is not None else np.ones(1, np.int8)
    unmarked = _read(hosts, code)
    if np.any(unmarked.counts <= wanted**2):
        raise Refusal(
            Reason.WATERMARK_CAPACITY,
            f"{unmarked.counts.min():.0f} weights a bit cannot reach {wanted:.2f}",
        )
    missing = unmarked.strengths * word < wanted
    if not missing.any():
        return Spreading(code, np.zeros(bits))
    amplitudes = np.where(missing, _closed_form(unmarked, word, wanted), 0.0)
    for _ in range(_ROUNDS):
        amplitudes = np.minimum(_round_up(amplitudes), most)
        found = Spreading(code, amplitudes)
        # Clipping and the marked matrix's own, wider spread take a little: make up for it.
        kept = (stored(place, marked) for place, marked in enumerate(found.apply(hosts)))
        strengths = _read(kept, code).strengths * word
        short = (strengths < wanted) & (amplitudes < most)
        if not short.any():
            return found
        behind = np.maximum(strengths, 1.0)
        amplitudes = np.where(short, np.maximum(amplitudes, 1e-4) * wanted / behind, amplitudes)
    raise Refusal(Reason.WATERMARK_CAPACITY, f"{wanted:.2f} is out of reach in {_ROUNDS} rounds")


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


def _read(hosts: Sequence[Floats] | Iterator[Floats], code: Code) -> Sums:
    def pieces() -> Iterator[Sums]:
        counts: dict[tuple[int, ...], int] = {}
        for host in hosts:
            ordinal = counts.get(host.shape, 0)
            counts[host.shape] = ordinal + 1
            yield correlate(whiten(host), code, host.shape, ordinal)

    return Sums.of(pieces(), code.bits)


def _closed_form(sums: Sums, word: npt.NDArray[np.int8], wanted: float) -> Wide:
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
