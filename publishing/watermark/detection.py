"""Reading a mark: correlate the whitened weights with the chips of its code.

Under a key that was chosen without sight of the weights the chips are independent fair signs, so
Hoeffding's inequality (JASA 58, 1963) bounds the chance of reading z or more by exp(-z^2 / 2),
whatever the weights are and whatever was done to them.

Which of several matrices of one shape is which cannot be told from a file whose names and order are
not ours. First they are taken as they come; only where that reads nothing, the likeliest way to
pair them with the chips, transposed where need be, is searched for (`pairing`). Every search is
paid for: with T ways the bound is T exp(-z^2 / 2), and the z that is reported is
the smaller one which, found without a search, would be as unlikely.

What weakens the claim is a key picked after the fact: 2^40 keys can be tried, which z >= 12
outlasts (2^-103 each), and a commitment logged before the release shows that none were.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from publishing.watermark import payload as payloads
from publishing.watermark.correlation import Floats, Sums, correlate, whiten
from publishing.watermark.key import Code
from publishing.watermark.pairing import Paired, as_they_come, log_ways, search

THRESHOLD = 12.0
# No claim is stronger than this: below it, the key's own secrecy is the weaker link.
_BOUND_CAP = -128 * math.log10(2)
# Taken as they come, or searched for.
_LOG_STAGES = math.log(2)


@dataclass(frozen=True, slots=True)
class Detection:
    """What a code reads in some weights.

    `z` is in standard deviations, after all searching has been paid for; `log10_bound` is the
    logarithm of the largest chance that an unrelated key reads as much (capped at 2^-128);
    `weights` is how many weights were read. `bit_errors` of the `bits` of a payload read wrong,
    before they were mended.
    """

    z: float
    log10_bound: float
    weights: int
    bits: int = 0
    bit_errors: int = 0

    @property
    def found(self) -> bool:
        return self.z >= THRESHOLD


def detect(weights: Iterable[Floats], code: Code) -> Detection:
    """Reads the mark of `code` in matrices and convolutions, output channels first, in any order.

    Needs neither the unmarked weights nor their names.
    """
    hosts = [white for white in map(whiten, weights) if white.any()]
    shapes = [host.shape for host in hosts]
    searched = log_ways(shapes, shapes)
    price = _LOG_STAGES if searched else 0.0
    first = detection_of(as_they_come(hosts, shapes), code, price)
    if first.found or not searched:
        return first
    second = detection_of(search(hosts, shapes, code), code, price + searched)
    return max(first, second, key=lambda each: each.z)


def sums_of(paired: Iterable[Paired], code: Code) -> Sums:
    """All correlations of weights paired so, by the bits of the code's payload."""
    pieces = (correlate(each.values, code, each.shape, each.ordinal) for each in paired)
    return Sums.of(pieces, code.bits)


def pay(z: float, log_price: float) -> float:
    """The z which, found at the first try, is as unlikely as this one among exp(log_price)."""
    if z <= 0 or not log_price:
        return z
    return math.sqrt(max(z * z - 2 * log_price, 0.0))


def detection_of(paired: Iterable[Paired], code: Code, log_price: float) -> Detection:
    """What `code` reads in weights paired so, after paying for exp(log_price) ways of pairing."""
    sums = sums_of(paired, code)
    word = payloads.codeword(code.payload) if code.payload is not None else None
    z = pay(sums.z(word), log_price)
    bound = max(-z * z / 2 / math.log(10), _BOUND_CAP) if z > 0 else 0.0
    errors = int(np.sum(sums.products * word <= 0)) if word is not None else 0
    return Detection(z, bound, int(sums.counts.sum()), code.bits, errors)
