"""Second reading of a mark: the weights are first aligned to the registry's copy of them.

It is used if the blind reading finds nothing. The weights are aligned to the copy without its mark.
The alignment does not see the chips, so it adds nothing to a mark, and the bound on what an
unrelated key reads stays the same. The reading needs the copy, so it is not blind, and is reported
as such.
"""

import math
from collections.abc import Sequence

import numpy as np

from publishing.watermark import coding as payloads
from publishing.watermark.alignment import QUANTILES, AlignedWeight, Order, align, scaled
from publishing.watermark.correlation import Floats, correlate, whiten
from publishing.watermark.embedding import EmbeddingStrength
from publishing.watermark.key import WatermarkCode
from publishing.watermark.pairing import PairedWeight, Shape, numbered
from publishing.watermark.reading import FileWeights

# A matrix that is ours correlates with our copy far above this, one that is not far below.
KIN = 0.25
# From here on the order of its rows is known.
_SURE_KIN = 0.6
# Of the weights that could be one of ours, how many are aligned to it.
_CANDIDATES = 3


def aligned_to(
    weights: FileWeights, code: WatermarkCode, copy: Sequence[Floats]
) -> list[PairedWeight]:
    """Those of the weights that are kin to one of `copy`, the marked weights as the registry has
    them, slot by slot, brought into its order and scale; the code's mark is taken out of it first.
    """
    hosts = [each.values for each in (*weights.ordered, *weights.others) if each.values.any()]
    return align_all(hosts, without_mark(copy, code))


def without_mark(hosts: Sequence[Floats], code: WatermarkCode) -> list[Floats]:
    """The registry's copy with what the code reads in it taken out; channels first, in order."""
    taken = []
    for host, (shape, ordinal) in zip(hosts, numbered(h.shape for h in hosts), strict=True):
        sums = correlate(whiten(host), code, shape, ordinal)
        word = payloads.codeword(code.payload) if code.payload is not None else 1
        share = -sums.products / np.maximum(sums.counts, 1) * word
        taken.append(EmbeddingStrength(code, share).shift(host, shape, ordinal))
    return taken


def align_all(hosts: Sequence[Floats], references: Sequence[Floats]) -> list[PairedWeight]:
    """Each reference's weight among the hosts, aligned; none where no host is kin to it.

    Hosts that are as many as the references are first taken for them one by one, as a graph lists
    them; what is no kin then is looked for among the others whose magnitudes are the most alike.
    """
    shapes = [reference.shape for reference in references]
    places = list(numbered(shapes))
    found: dict[int, AlignedWeight] = {}
    left = list(range(len(hosts)))
    hints: list[Order] = []

    def take(place: int, host: int) -> bool:
        aligned = _best_turn(hosts[host], references[place], hints)
        if aligned is None or aligned.kinship < KIN:
            return False
        found[place] = aligned
        left.remove(host)
        if aligned.kinship >= _SURE_KIN:
            hints.append(aligned.rows)
        return True

    if len(hosts) == len(references):
        for place in range(len(references)):
            take(place, place)
    for place, reference in enumerate(references):
        if place in found:
            continue
        for host in sorted(left, key=lambda h: _distance(hosts[h], reference))[:_CANDIDATES]:
            if take(place, host):
                break
    return [
        PairedWeight(whiten(each.values), *places[place]) for place, each in sorted(found.items())
    ]


def _best_turn(host: Floats, reference: Floats, hints: Sequence[Order]) -> AlignedWeight | None:
    """In the host's own layout if it can be, else transposed."""
    for turned in (host, host.T) if host.ndim == 2 else (host,):
        if _fits(turned.shape, reference.shape):
            aligned = align(turned, reference, hints)
            if aligned.kinship >= KIN:
                return aligned
    return None


def _fits(host: Shape, reference: Shape) -> bool:
    return (
        len(host) == len(reference)
        and host[2:] == reference[2:]
        and all(2 * want >= 2 * have >= want for have, want in zip(host, reference, strict=True))
    )


def _distance(host: Floats, reference: Floats) -> float:
    """Between the quantiles of what they hold, whatever its order and scale; infinite for weights
    of shapes that have nothing to do with one another.
    """
    fits = [t for t in (host, host.T) if _fits(t.shape, reference.shape)]
    if not fits:
        return math.inf
    levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
    a, b = (np.quantile(np.abs(scaled(each)[0]), levels) for each in (fits[0], reference))
    return float(np.linalg.norm(a - b))
