"""Attention windows of a language model: which keys and values each layer keeps.

A layer with window `w` sees, from each token, the first `sink` tokens of the text and the last `w`,
the token itself included (sink tokens: Xiao et al., arXiv 2309.17453). All else is dropped from the
cache. Positions stay those of the whole text.
"""

from dataclasses import dataclass
from typing import Any, Self

from sealgate.trust import fields

_MOST_LAYERS, _MOST_SINKS, _LARGEST = 1024, 1024, 1 << 20
WHOLE = 0
"""The window of a layer that keeps everything."""


@dataclass(frozen=True, slots=True)
class AttentionWindows:
    """The `attention` of `generator.json`: a window in tokens for each layer, or WHOLE.

    Raises SealgateError(DOCUMENT_MALFORMED).
    """

    sink: int
    windows: tuple[int, ...]

    def __post_init__(self) -> None:
        if not fields.integer(self.sink) <= _MOST_SINKS:
            raise fields.malformed(f"attention has at most {_MOST_SINKS} sink tokens")
        if not 1 <= len(self.windows) <= _MOST_LAYERS:
            raise fields.malformed("attention has a window for each layer")
        if not all(fields.integer(window) <= _LARGEST for window in self.windows):
            raise fields.malformed("a window has at most 2**20 tokens")
        if not any(self.windows):
            raise fields.malformed("attention without a window must not be stated")

    def as_json(self) -> dict[str, Any]:
        return {"sink": self.sink, "windows": list(self.windows)}

    @classmethod
    def of_json(cls, value: Any) -> Self:
        """Read what `as_json` returns."""
        record = fields.record(value, ("sink", "windows"))
        return cls(
            fields.integer(record["sink"]),
            tuple(fields.integer(each) for each in fields.items(record["windows"])),
        )

    def held(self, layer: int, tokens: int) -> int:
        """Of how many tokens that layer keeps keys and values, of a text of so many."""
        window = self.windows[layer]
        return tokens if window == WHOLE else min(tokens, self.sink + window)

    def equivalent(self, tokens: int) -> int:
        """As many tokens of full attention take the memory that `tokens` take, rounded up."""
        layers = len(self.windows)
        return -(-sum(self.held(layer, tokens) for layer in range(layers)) // layers)

    @property
    def description(self) -> str:
        """In words, for entries, receipts and metadata."""
        own = [window for window in self.windows if window != WHOLE]
        whole = len(self.windows) - len(own)
        least, most = min(own), max(own)
        sizes = f"{least}" if least == most else f"{least} to {most}"
        rest = f", {whole} keep all" if whole else ""
        return (
            f"attention windows of {sizes} tokens in {len(own)} of {len(self.windows)} layers{rest}"
            f", {self.sink} sink tokens"
        )
