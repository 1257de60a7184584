"""Writing a mark: add the key's chips to the weights, as softly as the target allows.

Spread spectrum (Cox et al., IEEE Trans. Image Processing 6, 1997) with informed embedding: what
the key reads in the weights already is known, so only the rest is added. One amplitude serves all
matrices, in units of each matrix's own spread: by Cauchy-Schwarz no other share of the same
correlation moves the weights less, measured against their spread.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from publishing.graphs import parse_model
from publishing.watermark.chips import chips
from publishing.watermark.detection import Detection, Floats, detect, search_cost, whiten
from publishing.watermark.key import WatermarkKey
from publishing.watermark.weights import read_carriers, write_carriers
from sealgate.reasons import Reason, Refusal

TARGET = 16.0
# Fewer weights need an amplitude that is felt: 16 / sqrt(15000) is 0.13 of the spread.
CAPACITY = 15_000
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Marked:
    """Two graphs that carry one mark. `amplitude` is in units of each matrix's spread."""

    serving: bytes
    response: bytes
    amplitude: float
    detection: Detection


def embed(serving: bytes, response: bytes, key: WatermarkKey, target: float = TARGET) -> Marked:
    """Marks the fp32 weights of the serving graph, and the same initializers of the response graph.

    `target` is the z that the mark reads afterwards.
    Raises: FORMAT_REFUSED, EXTERNAL_DATA; GRAPH_MISMATCH where the response graph lacks a weight
    or holds another; WATERMARK_CAPACITY where there are too few weights.
    """
    serving_model, response_model = parse_model(serving), parse_model(response)
    carriers = [each for each in read_carriers(serving_model) if whiten(each.values).any()]
    count = sum(carrier.values.size for carrier in carriers)
    if count < CAPACITY:
        raise Refusal(Reason.WATERMARK_CAPACITY, f"{count} weights can carry, {CAPACITY} must")
    hosts = [carrier.values for carrier in carriers]
    signs = _signs(hosts, key)
    amplitude = _amplitude(hosts, signs, target)
    shifted = _shift(hosts, signs, amplitude)
    marked = [replace(old, values=new) for old, new in zip(carriers, shifted, strict=True)]
    return Marked(
        serving=write_carriers(serving_model, carriers, marked),
        response=write_carriers(response_model, carriers, marked),
        amplitude=amplitude,
        detection=detect(shifted, key),
    )


def _signs(hosts: Sequence[Floats], key: WatermarkKey) -> list[Floats]:
    """The key's chips for each matrix, counted from 0 among those of its shape."""
    counts: Counter[tuple[int, ...]] = Counter()
    signs = []
    for host in hosts:
        signs.append(chips(key.secret, key.model, host.shape, counts[host.shape]))
        counts[host.shape] += 1
    return signs


@dataclass(frozen=True, slots=True)
class _Sums:
    """Chips times whitened weights, the whitened weights' energy, and how many there are."""

    product: float
    energy: float
    count: int

    @classmethod
    def of(cls, hosts: Sequence[Floats], signs: Sequence[Floats]) -> "_Sums":
        white = [whiten(host) for host in hosts]
        return cls(
            sum(float(np.sum(w * s)) for w, s in zip(white, signs, strict=True)),
            sum(float(np.sum(w * w)) for w in white),
            sum(w.size for w in white),
        )

    @property
    def z(self) -> float:
        return self.product / math.sqrt(self.energy)


def _amplitude(hosts: Sequence[Floats], signs: Sequence[Floats], target: float) -> float:
    """The least amplitude with which the reading, after its search is paid for, is `target`."""
    wanted = math.sqrt(target**2 + search_cost(host.shape for host in hosts))
    unmarked = _Sums.of(hosts, signs)
    if unmarked.z >= wanted:
        return 0.0
    amplitude = _round_up(_closed_form(unmarked, wanted))
    for _ in range(_ROUNDS):
        # Clipping and the marked matrix's own, wider spread take a little: make up for it.
        z = _Sums.of(_shift(hosts, signs, amplitude), signs).z
        if z >= wanted:
            return amplitude
        amplitude = _round_up(amplitude * wanted / z)
    raise Refusal(Reason.WATERMARK_CAPACITY, f"z {z:.2f} of {wanted:.2f} after {_ROUNDS} rounds")


def _closed_form(sums: _Sums, wanted: float) -> float:
    """The amplitude a for which (C + aN) / sqrt(V + 2aC + a^2 N) is wanted; C, V, N: `sums`.

    Adding a times the chips to whitened weights adds aN to the product and 2aC + a^2 N to the
    energy; squaring gives a quadratic, whose larger root has the right sign.
    """
    square = wanted * wanted
    lead = sums.count * (sums.count - square)
    half = sums.product * (sums.count - square)
    rest = sums.product**2 - square * sums.energy
    if lead <= 0:
        raise Refusal(Reason.WATERMARK_CAPACITY, f"{sums.count} weights cannot reach {wanted:.2f}")
    return (-half + math.sqrt(max(half * half - lead * rest, 0.0))) / lead


def _round_up(amplitude: float) -> float:
    """Up to four significant digits, so that the last bits of a sum do not reach the weights."""
    places = 3 - math.floor(math.log10(amplitude))
    return round(math.ceil(amplitude * 10**places) / 10**places, places)


def _shift(hosts: Sequence[Floats], signs: Sequence[Floats], amplitude: float) -> list[Floats]:
    return [
        host + np.float32(amplitude * host.astype(np.float64).std()) * sign
        for host, sign in zip(hosts, signs, strict=True)
    ]
