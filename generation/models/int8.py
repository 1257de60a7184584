"""INT8 weights with one scale per row, as torchao rounds them, and products in float32.

Stored and signed weights stay as they are. They are rounded when loaded, the same way everywhere. A
matrix takes a quarter of its float32 size and is multiplied in blocks that fit into the processor's
cache once unpacked, so less memory is read than with floats. Modules that share a matrix, such as
head and embedding, keep sharing it.
"""

import torch
from torch import nn
from torchao.quantization import Int8Tensor
from torchao.quantization.granularity import PerRow
from transformers import PreTrainedModel

from publishing.watermark.pairing import Floats

# So many weights are unpacked at once: 2 MB.
_BLOCK = 1 << 19


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


class Int8Embedding(_Rounded):
    """Replaces `nn.Embedding` with a rounded table."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.weight[ids].float() * self.scale[ids][..., None]


def round_weights(model: PreTrainedModel) -> None:
    """Round every matrix of a model, in place, one after another; all else becomes float32.

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
    for name, owner in owners.items():
        module = model.get_submodule(name)
        parent, _, last = name.rpartition(".")
        if owner not in rounded:
            rounded[owner] = _rounded(module.weight)
        weight, scale = rounded[owner]
        if isinstance(module, nn.Embedding):
            new: nn.Module = Int8Embedding(weight, scale)
        else:
            bias = module.bias
            new = Int8Linear(weight, scale, None if bias is None else bias.detach())
        setattr(model.get_submodule(parent), last, new)
    model.float()
    model.config.dtype = torch.float32


def as_rounded(weights: Floats) -> Floats:
    """What a matrix stands for once it is rounded."""
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
