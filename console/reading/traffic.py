"""What a version was asked over time, from the samples that the gateway keeps of its counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from console.display.timelines import MOST_LINES, Line
from sealgate.oip import grpc_service_pb2 as oip

_VERDICTS = ("clean", "suspect", "adversarial")


@dataclass(frozen=True, slots=True)
class TrafficSeries:
    """Rates and means between one sample and the next; `times` are the samples' own, in seconds."""

    times: tuple[float, ...]
    answered: tuple[float | None, ...]
    milliseconds: tuple[float | None, ...]
    refused: tuple[Line, ...]
    verdicts: tuple[Line, ...]
    drift: tuple[float | None, ...]


def series_of(samples: Sequence[oip.StatisticsSample]) -> TrafficSeries | None:
    """The series of a version's samples; None of fewer than three, which are no line yet."""
    moments = [
        pair
        for pair in pairwise(samples)
        if pair[1].time > pair[0].time and pair[1].answered.count >= pair[0].answered.count
    ]
    if len(moments) < 2:
        return None
    grown = [(after.time - before.time) / 1e3 for before, after in moments]
    counts = [after.answered.count - before.answered.count for before, after in moments]
    nanoseconds = [after.answered.ns - before.answered.ns for before, after in moments]
    last = samples[-1]
    reasons = sorted(last.refused, key=lambda reason: -last.refused[reason])[:MOST_LINES]
    return TrafficSeries(
        times=tuple(after.time / 1e3 for _, after in moments),
        answered=tuple(count / seconds for count, seconds in zip(counts, grown, strict=True)),
        milliseconds=tuple(
            ns / count / 1e6 if count else None
            for ns, count in zip(nanoseconds, counts, strict=True)
        ),
        refused=tuple(
            Line(
                reason.replace("_", " ").lower(),
                tuple(float(b.refused[reason] - a.refused[reason]) for a, b in moments),
            )
            for reason in reasons
        ),
        verdicts=tuple(
            Line(name, tuple(float(b.verdicts[name] - a.verdicts[name]) for a, b in moments))
            for name in _VERDICTS
        ),
        drift=tuple(b.drift if b.HasField("drift") else None for _, b in moments),
    )
