"""Watermark of a language model: written into its stored matrices, readable in them and in INT8.

The embedding and the head are not marked: they are by far the largest, each row belongs to one
token, and the other matrices are enough. T5's small table of distances is not marked either.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from generation.models.int8 import as_rounded
from publishing.watermark import (
    Mark,
    MarkDetection,
    MarkRecord,
    TensorFile,
    WatermarkCode,
    WeightSlot,
    detect_named,
    mark_shards,
    spread_mark,
)
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.statements import FileEntry, Manifest

Floats = npt.NDArray[np.float32]

LARGEST_LOSS = 0.005
"""By what share perplexity may grow with the mark, where nobody says otherwise."""
_UNMARKED = (
    "embed_tokens.weight",
    "lm_head.weight",
    "shared.weight",
    "relative_attention_bias.weight",
)


@dataclass(frozen=True, slots=True)
class CommittedMark:
    """A mark and the entry of the registry's log that holds its commitment."""

    mark: Mark
    entry: int


def unmarked_digest(weights: Sequence[FileEntry]) -> str:
    """The digest to which a mark is bound before it is made: that of the one file of weights, or of
    a manifest of several.
    """
    return weights[0].digest if len(weights) == 1 else Manifest(tuple(weights)).digest


@dataclass(frozen=True, slots=True)
class MarkedWeights:
    """Where the mark was written, and its readings in the stored weights and in INT8 ones."""

    committed: CommittedMark
    worded: bool
    slots: tuple[WeightSlot, ...]
    stored: MarkDetection
    int8: MarkDetection

    def record(self, version_digest: str) -> MarkRecord:
        """The record that the publisher keeps, once the version has a digest."""
        mark, entry = self.committed.mark, self.committed.entry
        return MarkRecord(mark, self.worded, entry, version_digest, self.slots)


def mark_weights(
    folder: Path, made: Path, names: Sequence[str], committed: CommittedMark
) -> MarkedWeights:
    """Writes the files of `folder` to `made` with the mark in them, a tensor at a time.

    Raises: FORMAT_REFUSED, WATERMARK_CAPACITY; WATERMARK_FAINT where it is not read afterwards.
    """
    marked = mark_shards(
        [folder / name for name in names],
        [made / name for name in names],
        lambda hosts: spread_mark(hosts, committed.mark, stored=hosts.stored),
        {},
        _UNMARKED,
    )
    code, slots = marked.spreading.code, marked.slots
    stored = _read(_weights(made, names), slots, code, "what is stored")
    rounded = ((name, as_rounded(values)) for name, values in _weights(made, names))
    return MarkedWeights(
        committed, code.bits > 0, slots, stored, _read(rounded, slots, code, "INT8")
    )


def _read(
    weights: Iterable[tuple[str, Floats]],
    slots: Sequence[WeightSlot],
    code: WatermarkCode,
    form: str,
) -> MarkDetection:
    """Detect the code in named weights, one in memory at a time. Raises: WATERMARK_FAINT."""
    found = detect_named(weights, slots, code)
    if not found.found:
        raise SealgateError(Reason.WATERMARK_FAINT, f"{form} reads z = {found.z:.1f}")
    return found


def _weights(made: Path, names: Sequence[str]) -> Iterator[tuple[str, Floats]]:
    """The weights that may carry the mark, by name."""
    for file in names:
        tensors = TensorFile.parse(np.memmap(made / file, np.uint8, "r"))
        for name in tensors.floats():
            if not name.endswith(_UNMARKED):
                yield name, tensors.floating(name)


def perplexity_loss(before: float, after: float) -> float:
    """By what share perplexity has grown; infinite where it cannot be said."""
    lost = after / before - 1
    return lost if math.isfinite(lost) else math.inf
