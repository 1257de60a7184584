"""The gradient of a convolution, written as convolutions of other weights.

ONNX's `ConvTranspose` is that gradient, but runtimes have fast kernels for `Conv` alone: on ONNX
Runtime's CPU provider the gradient of a residual network takes four times as long by
`ConvTranspose`. With a stride of s, the places of the input fall into s phases, each of which meets
every s-th weight. One convolution computes all phases as further channels, which are then put side
by side. Its weights are made in the graph of the model's own, so that a mark on these is on both; a
runtime computes them once, when it loads the graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from publishing.differentiate.graphs import Emitter

# Ends and steps of a slice that turns an axis round.
_BEFORE_FIRST, _LAST, _BACK = -(1 << 31), -1, -1


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a window: `size` places become `result` ones by `kernel` weights, which lie
    `dilation` apart; `before` places of padding precede the input.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    size: int
    result: int

    @property
    def reach(self) -> int:
        """How many places the last weight is beyond the first."""
        return self.dilation * (self.kernel - 1)

    @property
    def first(self) -> int:
        """The first window, counted from a place's own, that meets a place of any phase."""
        return -((self.reach - self.before) // self.stride)

    @property
    def last(self) -> int:
        """The last such window."""
        return (self.stride - 1 + self.before) // self.stride

    @property
    def rounds(self) -> int:
        """How many places each phase has."""
        return -(-self.size // self.stride)

    @property
    def pads(self) -> tuple[int, int]:
        """Padding of the gradient: before and after."""
        return -self.first, self.rounds - self.result + self.last

    @property
    def by_conv(self) -> bool:
        """Whether a convolution gives the gradient."""
        return min(self.pads) >= 0 and (self.stride == 1 or self.dilation == 1)

    @property
    def filled(self) -> tuple[int, int]:
        """How many zeros precede and follow the weights, so that each phase has as many."""
        if self.stride == 1:
            return 0, 0
        before = self.last * self.stride - self.before
        return before, self.taps * self.stride - before - self.kernel

    @property
    def taps(self) -> int:
        """How many weights a phase meets."""
        return self.kernel if self.stride == 1 else self.last - self.first + 1


def turned(
    e: Emitter, axes: Sequence[Axis], g: str, weight: str, channels: tuple[int, int], groups: int
) -> str:
    """The gradient of the input of a convolution with `weight`, from that of its result, `g`.
    `channels` are the weight's: of the result, and of the input by group. Every axis is `by_conv`.
    """
    phases = [axis.stride for axis in axes]
    found = e.op(
        "Conv",
        g,
        _weights(e, axes, weight, channels, groups),
        pads=[*(axis.pads[0] for axis in axes), *(axis.pads[1] for axis in axes)],
        dilations=[axis.dilation for axis in axes],
        group=groups,
    )
    if max(phases) == 1:
        return found
    return _side_by_side(e, axes, found, groups * channels[1])


def _weights(
    e: Emitter, axes: Sequence[Axis], weight: str, channels: tuple[int, int], groups: int
) -> str:
    """From weights [O, I, k, ...] to [groups I s ..., O / groups, taps, ...], each axis turned."""
    given, taken = channels
    count, each = len(axes), given // groups
    filled = [axis.filled for axis in axes]
    if any(map(any, filled)):
        before, after = zip(*filled, strict=True)
        weight = e.op("Pad", weight, e.integers(0, 0, *before, 0, 0, *after), e.number(0.0))
    sizes = [size for axis in axes for size in (axis.taps, axis.stride)]
    split = e.op("Reshape", weight, e.integers(groups, each, taken, *sizes))
    taps = [3 + 2 * at for at in range(count)]
    ends = e.integers(*[_BEFORE_FIRST] * count)
    back = e.integers(*[_LAST] * count), ends, e.integers(*taps), e.integers(*[_BACK] * count)
    order = [0, 2, *(at + 1 for at in taps), 1, *taps]
    moved = e.op("Transpose", e.op("Slice", split, *back), perm=order)
    most = groups * taken
    for axis in axes:
        most *= axis.stride
    return e.op("Reshape", moved, e.integers(most, each, *(axis.taps for axis in axes)))


def _side_by_side(e: Emitter, axes: Sequence[Axis], found: str, channels: int) -> str:
    """From phases [n, channels s ..., rounds, ...] to [n, channels, size, ...]."""
    count = len(axes)
    phases, rounds = [axis.stride for axis in axes], [axis.rounds for axis in axes]
    apart = e.op("Reshape", found, e.integers(0, channels, *phases, *rounds))
    order = [place for at in range(count) for place in (2 + count + at, 2 + at)]
    moved = e.op("Transpose", apart, perm=[0, 1, *order])
    sizes = [axis.rounds * axis.stride for axis in axes]
    whole = e.op("Reshape", moved, e.integers(0, channels, *sizes))
    if sizes == [axis.size for axis in axes]:
        return whole
    ends = e.integers(*(axis.size for axis in axes))
    return e.op("Slice", whole, e.integers(*[0] * count), ends, e.integers(*range(2, count + 2)))
