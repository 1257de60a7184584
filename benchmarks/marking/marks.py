"""A network under one key: its marked state, and what the product reads in another state."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.marking import attacks
from benchmarks.marking.subjects import Floats, MarkedNetwork, State
from publishing.watermark.aligned_detection import aligned_to, could_hold
from publishing.watermark.carrier_weights import MIN_ELEMENTS, CarrierWeight
from publishing.watermark.correlation import PairedWeight
from publishing.watermark.detection import FileWeights, MarkDetection, detection_of, read_code
from publishing.watermark.graph_marking import EmbeddingStrength, spread_mark
from publishing.watermark.identification import CopyRecord, accused, spread_copy
from publishing.watermark.key import Mark, WatermarkCode, WatermarkKey
from publishing.watermark.mark_records import WeightSlot

_UNMARKED = "sha256:" + "0" * 64
_RECIPIENTS = 16
# By the file alone, or aligned.
_TRIES = 2


def key_of(seed: int) -> WatermarkKey:
    return WatermarkKey("bench", hashlib.sha256(f"key {seed}".encode()).digest())


def file_of(weights: Mapping[str, Floats]) -> FileWeights:
    """As a file of a graph has them."""
    return FileWeights(
        True,
        tuple(
            CarrierWeight(name, tuple(range(values.ndim)), values)
            for name, values in weights.items()
            if values.ndim >= 2 and values.size >= MIN_ELEMENTS
        ),
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading and its kind: `blind`, `aligned`, or `lost`."""

    verdict: str
    found: MarkDetection
    paired: tuple[PairedWeight, ...] = ()

    def row(self) -> dict[str, Any]:
        found = self.found
        return {"z": found.z, "verdict": self.verdict, "bit_errors": found.bit_errors}


class Marking:
    """One subject under one key; `draw` is for the payload, which the key's holder draws."""

    def __init__(self, subject: MarkedNetwork, seed: int, draw: int = 0) -> None:
        self.subject = subject
        self.names = subject.hosts(subject.state)
        self.key = key_of(seed)
        self.mark = Mark(self.key, bytes([seed, draw, 2, 3]), _UNMARKED)
        hosts = [subject.state[name] for name in self.names]
        self.spreading = spread_mark(hosts, self.mark)
        self.code = self.spreading.code
        self.state = self.moved(self.spreading, subject.state)
        self.slots = tuple(
            WeightSlot(name, host.shape, tuple(range(host.ndim)))
            for name, host in zip(self.names, hosts, strict=True)
        )

    def moved(self, by: EmbeddingStrength, state: State) -> State:
        hosts = [state[name] for name in self.names]
        return {**state, **dict(zip(self.names, by.apply(hosts), strict=True))}

    def each(self, change: Callable[[Floats], Floats]) -> State:
        """The marked state with every weight that carries changed."""
        return {**self.state, **{name: change(self.state[name]) for name in self.names}}

    def overwritten(self, seed: int) -> State:
        """Another's mark, five times as strong."""
        theirs = Mark(key_of(1000 + seed), bytes(4), _UNMARKED).code(worded=self.code.bits > 0)
        strong = np.full(max(theirs.bits, 1), 5 * self.spreading.amplitude)
        return self.moved(EmbeddingStrength(theirs, strong), self.state)

    def copy(self, recipient: int) -> State:
        """The copy of one recipient."""
        code = self.key.recipient(_UNMARKED, f"recipient-{recipient}")
        hosts = [self.state[name] for name in self.names]
        return self.moved(spread_copy(hosts, code), self.state)

    def named(self, state: State) -> list[int]:
        """The recipients, of sixteen, who are named by a state."""

        def read(code: WatermarkCode, tries: int) -> MarkDetection:
            return read_code(file_of(state), code, self.slots, tries)

        copies = [
            CopyRecord("bench", f"recipient-{n}", _UNMARKED, _UNMARKED) for n in range(_RECIPIENTS)
        ]
        found = accused(read, self.key, copies)
        return [int(each.record.recipient.rpartition("-")[2]) for each in found]

    def read(self, weights: FileWeights) -> Reading:
        """Blind, and if that finds nothing, aligned to the marked copy."""
        found = read_code(weights, self.code, self.slots, _TRIES)
        if found.found:
            return Reading("blind", found)
        if could_hold(weights, [slot.shape for slot in self.slots]):
            copy = [self.state[name] for name in self.names]
            paired = aligned_to(weights, self.code, copy)
            second = detection_of(paired, self.code, math.log(_TRIES))
            if second.found:
                return Reading("aligned", second)
            found = max(found, second, key=lambda each: each.z)
        return Reading("lost", found)


def published(subject: MarkedNetwork, seed: int, draws: int = 8) -> tuple[Marking, list[float]]:
    """The first mark of a key that costs no more than it may, as a publisher draws it, and what
    each that was drawn costs; the last one, if all cost more.
    """
    costs = []
    for draw in range(draws):
        marking = Marking(subject, seed, draw)
        costs.append(subject.cost(marking.state))
        if costs[-1] <= subject.limit:
            break
    return marking, costs


def colluding(marking: Marking, count: int) -> State:
    """The mean of so many recipients' copies."""
    return attacks.mean([marking.copy(n) for n in range(count)])
