"""A stand-in for a card in tests of placement: code must say where each new tensor belongs."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_MAKERS = (torch.arange, torch.empty, torch.full, torch.ones, torch.tensor, torch.zeros)


class PlacedTensors(TorchFunctionMode):
    """Refuses tensors that are made without a word on their device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        assert func not in _MAKERS or "device" in (kwargs or {}), f"{func} without a device"
        return func(*args, **(kwargs or {}))
