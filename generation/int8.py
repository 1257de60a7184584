"""Weights of eight bits: as torchao rounds them, a scale for each row, and products in float32.

What is stored and signed stays as it is; it is rounded as it is loaded, the same way wherever that
is. A matrix takes a quarter of its room in float32, and is multiplied in blocks that fit into the
processor's cache once they are unpacked: so less is read from memory than with floats. Modules that
have one matrix between them, such as head and embedding, keep one.
"""

import torch
from torch import nn
from torchao.quantization import Int8Tensor
from torchao.quantization.granularity import PerRow
from transformers import PreTrainedModel

from publishing.watermark.correlation import Floats

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
    """What `nn.Linear` computes, with a rounded matrix."""

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
    """What `nn.Embedding` looks up, in a rounded table."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.weight[ids].float() * self.scale[ids][..., None]


def round_weights(model: PreTrainedModel) -> None:
    """Round every matrix of a model, in place, one after another; all else becomes float32."""
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
            new = Int8Linear(weight, scale, None if bias is None else bias.detach().float())
        setattr(model.get_submodule(parent), last, new)
    model.float()
    model.config.dtype = torch.float32


def as_rounded(weights: Floats) -> Floats:
    """What a matrix stands for once it is rounded."""
    values, scale = _rounded(torch.tensor(weights))
    found: Floats = (values.float() * scale[:, None]).numpy()
    return found


def _rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        found = Int8Tensor.from_hp(weight.detach().float(), PerRow())
    return found.qdata.contiguous(), found.scale.reshape(-1).contiguous()
