"""Writing a version's mark into its two graphs, which share their weights.

Where there are weights enough, the mark carries the payload that names its version; else it says by
its presence alone which version it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from publishing.graphs import parse_model
from publishing.watermark import payload as payloads
from publishing.watermark.correlation import Floats, whiten
from publishing.watermark.detection import Detection, detect
from publishing.watermark.key import Code, Mark
from publishing.watermark.pairing import log_ways
from publishing.watermark.records import Slot
from publishing.watermark.spreading import Spreading, Stored, spread
from publishing.watermark.weights import read_carriers, write_carriers
from sealgate.reasons import Reason, Refusal

# What is read of a mark without a payload, after any search has been paid for.
TARGET = 16.0
# What is read of each bit of a payload.
MARGIN = 6.0
# Fewer weights need an amplitude that is felt: 16 / sqrt(15000) is 0.13 of the spread.
CAPACITY = 15_000
# A payload is written where this amplitude gives each bit 4 standard deviations.
_FELT, _LEAST_MARGIN = 0.1, 4.0
PAYLOAD_CAPACITY = math.ceil(payloads.BITS * (_LEAST_MARGIN / _FELT) ** 2)


@dataclass(frozen=True, slots=True)
class Marked:
    """Two graphs that carry one mark. `amplitude` is in units of each matrix's spread."""

    serving: bytes
    response: bytes
    code: Code
    amplitude: float
    slots: tuple[Slot, ...]
    detection: Detection


def embed(serving: bytes, response: bytes, mark: Mark, target: float = TARGET) -> Marked:
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
    return Marked(
        serving=write_carriers(serving_model, carriers, marked),
        response=write_carriers(response_model, carriers, marked),
        code=spreading.code,
        amplitude=spreading.amplitude,
        slots=tuple(Slot(each.name, each.values.shape, each.axes) for each in carriers),
        detection=detect(marked, spreading.code),
    )


def spread_mark(
    hosts: Sequence[Floats],
    mark: Mark,
    target: float = TARGET,
    stored: Stored = lambda _, values: values,
) -> Spreading:
    """How to add the mark to these weights, none of which is constant: it is read in what is
    `stored` of them.

    Raises: WATERMARK_CAPACITY.
    """
    count = sum(host.size for host in hosts)
    if count < CAPACITY:
        raise Refusal(Reason.WATERMARK_CAPACITY, f"{count} weights can carry, {CAPACITY} must")
    shapes = [host.shape for host in hosts]
    # Twice: read as they come, or searched for.
    price = 2 * (log_ways(shapes, shapes) + math.log(2))
    wanted = math.sqrt(target**2 + price)
    code = mark.code(worded=count >= PAYLOAD_CAPACITY)
    if code.bits:
        wanted = max(MARGIN, wanted / math.sqrt(code.bits))
    return spread(hosts, code, wanted, stored=stored)
