"""INT8 weights with one scale per row, as torchao rounds them; products in float32 or in integers.

Stored and signed weights stay as they are. They are rounded when loaded, the same way everywhere. A
matrix takes a quarter of its float32 size. Modules that share a matrix, such as head and embedding,
keep sharing it, unless integer kernels need it packed.

With INT8 a matrix is multiplied in blocks that fit into the processor's cache once unpacked, so
less memory is read than with floats. With INT8_INTEGER each row of an input is rounded to sixteen
bits, as the sum of two rows of eight: integer kernels multiply eight bits by eight and add in 32
without rounding. So a row's sums depend neither on the rows beside it nor on the machine: where
those kernels are missing or may saturate, the same sums are added in float64. The two precisions
give near ties to different tokens, so a version is published for one of them. Matrices with the
same input, such as those of queries, keys and values, are multiplied as one: small operations
between large ones take long, as they find the processor's caches empty.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torchao.quantization import Int8Tensor
from torchao.quantization.granularity import PerRow
from transformers import PreTrainedModel

from inference.llm.terms import INT8

Floats = npt.NDArray[np.float32]


# So many weights are unpacked at once: 2 MB.
_BLOCK = 1 << 19
# So many rows are multiplied in integers at once: what they need stays in the cache.
_ROWS = 64
# Kernels take fewer rows by a way that is slower by magnitudes for some matrices.
_FEWEST = 4
# The matrix that follows one and has the same input.
_NEXT = {"q_proj": "k_proj", "k_proj": "v_proj", "gate_proj": "up_proj"}
# Two signed bytes hold up to 127 * 256 + 127; -128 is the least of the lower one.
_LARGEST = 127 * 256


class _Rounded(nn.Module):
    """A matrix as integers `weight` int8 [rows, columns] and `scale` [rows]."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)


class Int8Linear(_Rounded):
    """Replaces `nn.Linear` with a rounded matrix."""

    bias: torch.Tensor | None

    def __init__(
        self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> None:
        super().__init__(weight, scale)
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From float32 [..., columns] to [..., rows]."""
        flat = x.reshape(-1, x.shape[-1])
        found = flat.new_empty(len(flat), len(self.weight))
        rows = max(1, _BLOCK // flat.shape[1])
        for start in range(0, len(self.weight), rows):
            block = self.weight[start : start + rows].float()
            torch.mm(flat, block.T, out=found[:, start : start + rows])
        found *= self.scale
        if self.bias is not None:
            found += self.bias
        return found.reshape(*x.shape[:-1], -1)


class _Packed:
    """A matrix as the integer kernel reads it; copies of a model share it."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight = torch.ops.onednn.qlinear_prepack(weight, None)
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Packed":
        return self

    def times(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Of int8 [n, columns] the sums, times `scale` [rows], in float32 [n, rows]."""
        found: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            *(x, 1.0, 0, self._weight, scale, self._zeros, None, 1.0, 0),
            *(torch.float32, "none", [], ""),
        )
        return found


class IntegerLinear(nn.Module):
    """Replaces `nn.Linear` with a rounded matrix of `shape` (rows, columns), and rounds inputs."""

    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
    ) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        # Without packing, a kernel would sort a matrix anew for each product. An embedding with the
        # same matrix has it unpacked besides.
        self._packed = _Packed(weight) if has_kernels() else None
        self.register_buffer("weight", weight if self._packed is None else None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From float32 [..., columns] to [..., rows]."""
        flat = x.reshape(-1, x.shape[-1])
        parts = [self._times(part) for part in flat.split(_ROWS)]
        found = parts[0] if len(parts) == 1 else torch.cat(parts)
        if self.bias is not None:
            found += self.bias
        return found.reshape(*x.shape[:-1], -1)

    def _times(self, x: torch.Tensor) -> torch.Tensor:
        rows, top = _in_two(x)
        if self._packed is not None:
            both = self._packed.times(rows, self.scale)
        else:
            both = sums(rows, self.weight).float().mul_(self.scale)
        high, low = both[: len(x)], both[len(x) : 2 * len(x)]
        return torch.add(low, high, alpha=256.0).mul_(top / _LARGEST)


class _Joined(nn.Module):
    """Matrices with the same input, as one; `sizes` are how many rows each has."""

    def __init__(self, linear: IntegerLinear, sizes: Sequence[int]) -> None:
        super().__init__()
        self._linear = linear
        self._sizes = list(sizes)
        # The newest input, and the outputs that are not taken yet.
        self._known: tuple[torch.Tensor, list[torch.Tensor | None]] | None = None

    def take(self, x: torch.Tensor, place: int) -> torch.Tensor:
        """The output of the matrix at `place`; the last one is taken last."""
        known = self._known
        found = known[1][place] if known is not None and known[0] is x else None
        if known is None or found is None:
            outputs: list[torch.Tensor | None] = [*self._linear(x).split(self._sizes, -1)]
            known, found = (x, outputs), outputs[place]
        known[1][place] = None
        self._known = None if place == len(self._sizes) - 1 else known
        return found


class JoinedLinear(nn.Module):
    """Replaces `nn.Linear` with one of several matrices that are multiplied together."""

    def __init__(self, joined: _Joined, place: int) -> None:
        super().__init__()
        self._joined = joined
        self._place = place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From float32 [..., columns] to [..., rows]."""
        return self._joined.take(x, self._place)


def sums(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Of int8 [n, columns] and [rows, columns] the exact sums in float64 [n, rows]."""
    found = torch.empty(len(x), len(weight), dtype=torch.float64)
    rows, wide = max(1, _BLOCK // x.shape[1]), x.double()
    for start in range(0, len(weight), rows):
        block = weight[start : start + rows].double()
        torch.mm(wide, block.T, out=found[:, start : start + rows])
    return found


def _in_two(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [n, columns] as int8 [2n or more, columns], 256 times the first n plus the second n, and
    the largest of each row [n, 1], which stands for _LARGEST.
    """
    top = x.abs().amax(-1, keepdim=True).clamp_min_(torch.finfo(x.dtype).tiny)
    whole = (x / top).mul_(_LARGEST).round_().to(torch.int32)
    high = (whole + 128) >> 8
    parts = [high, whole - (high << 8)]
    if 2 * len(x) < _FEWEST:
        parts.append(high.new_zeros(_FEWEST - 2 * len(x), x.shape[1]))
    return torch.cat(parts).to(torch.int8), top


@functools.cache
def has_kernels() -> bool:
    """Whether integer kernels are there and add without saturating, as some processors do."""
    if not torch.backends.mkldnn.is_available():
        return False
    weight = torch.full((16, 512), -128, dtype=torch.int8)
    x = torch.full((2, 512), -128, dtype=torch.int8)
    x[1], weight[::2] = 127, 127
    try:
        found = _Packed(weight).times(x, torch.ones(16))
    except (RuntimeError, AttributeError):
        return False
    return torch.equal(found.int(), x.int() @ weight.int().T)


class Int8Embedding(_Rounded):
    """Replaces `nn.Embedding` with a rounded table."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.weight[ids].float() * self.scale[ids][..., None]


def round_weights(model: PreTrainedModel, precision: str = INT8) -> None:
    """Round every matrix of a model, in place, one after another; all else becomes float32.
    `precision` is INT8 or INT8_INTEGER.

    A file of weights is mapped as long as one of its tensors is. So what stays is copied first, and
    each file is let go once its matrices are rounded.
    """
    for small in [each for each in model.parameters() if each.ndim < 2]:
        small.data = small.data.to(torch.float32, copy=True)
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Embedding)]
    # Several modules may have one matrix between them; all of them are there by now.
    owners = {name: id(module.weight) for name, module in found}
    del found
    rounded: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    waiting: list[_Matrix] = []
    for name, owner in owners.items():
        module = model.get_submodule(name)
        if owner not in rounded:
            rounded[owner] = _rounded(module.weight)
        if isinstance(module, nn.Embedding):
            _replace(model, name, Int8Embedding(*rounded[owner]))
            continue
        bias = None if module.bias is None else module.bias.detach()
        if precision == INT8:
            _replace(model, name, Int8Linear(*rounded[owner], bias))
            continue
        waiting.append(_Matrix(name, *rounded[owner], bias))
        if not _has_next(name, owners):
            _replace_joined(model, waiting)
            waiting = []
    model.float()
    model.config.dtype = torch.float32


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A rounded matrix [rows, columns] of the module `name`."""

    name: str
    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None


def _has_next(name: str, owners: Mapping[str, int]) -> bool:
    """Whether another matrix follows that has the same input, and neither has another owner."""
    parent, _, last = name.rpartition(".")
    following = f"{parent}.{_NEXT.get(last)}"
    return following in owners and not any(_is_shared(owners, owners[n]) for n in (name, following))


def _replace_joined(model: PreTrainedModel, matrices: Sequence[_Matrix]) -> None:
    """Matrices with the same input by one in integers."""
    if len(matrices) == 1:
        (one,) = matrices
        _replace(model, one.name, IntegerLinear(one.weight, one.scale, one.bias))
        return
    biases = [torch.zeros(len(m.weight)) if m.bias is None else m.bias for m in matrices]
    linear = IntegerLinear(
        torch.cat([m.weight for m in matrices]),
        torch.cat([m.scale for m in matrices]),
        None if all(m.bias is None for m in matrices) else torch.cat(biases),
    )
    joined = _Joined(linear, [len(m.weight) for m in matrices])
    for place, each in enumerate(matrices):
        _replace(model, each.name, JoinedLinear(joined, place))


def _replace(model: PreTrainedModel, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)


def _is_shared(owners: Mapping[str, int], owner: int) -> bool:
    return [*owners.values()].count(owner) > 1


def as_rounded(weights: Floats) -> Floats:
    """The float values of a matrix after rounding to INT8."""
    values, scale = _rounded(torch.tensor(weights))
    found: Floats = (values.float() * scale[:, None]).numpy()
    return found


def _rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix [rows, columns] as integers and a scale for each row, a block of rows at a time: in
    float32, and as torchao goes about it, a whole one would take several times its room.
    """
    values = torch.empty(weight.shape, dtype=torch.int8)
    scale = torch.empty(len(weight))
    rows = max(1, _BLOCK // weight.shape[1])
    with torch.no_grad():
        for start in range(0, len(weight), rows):
            block = slice(start, start + rows)
            found = Int8Tensor.from_hp(weight[block].detach().float(), PerRow())
            values[block] = found.qdata
            scale[block] = found.scale.reshape(-1)
    return values, scale
