"""Devices of torch: the one that is configured or none, with a fallback only if configured.

    cpu
    cuda, cuda:1    an NVIDIA card, by default the first
    rocm, rocm:1    an AMD card: torch built for ROCm has it under the name `cuda`
    mps             Apple's

The module `torch` is passed in, since only training and generation import it.
"""

import re
from dataclasses import dataclass
from typing import Any

from inference.runtime.settings import CPU, CUDA, ROCM
from sealgate.settings import ConfigError

MPS = "mps"
_DEVICE = re.compile(rf"{CPU}|{MPS}|({CUDA}|{ROCM})(:[0-9]{{1,2}})?")


def check_device(section: str, device: str, fallback: bool) -> None:
    """Check the settings `device` and `fallback` of a section as far as text tells.

    Raises: ConfigError.
    """
    if not _DEVICE.fullmatch(device):
        known = "cpu, cuda, cuda:1, rocm, rocm:1, mps"
        raise ConfigError(f"[{section}] device = {device!r} is none of {known} and the like")
    if fallback and device == CPU:
        raise ConfigError(f"[{section}] fallback is to the CPU, which is already the device")


@dataclass(frozen=True, slots=True)
class TorchDevice:
    """A device by the `name` that torch has for it.

    `place` is what records say: the name in the configuration's words, or `cpu for want of` the one
    that was asked for. `hardware` is the card's own name, empty for the CPU.
    """

    name: str = CPU
    place: str = CPU
    hardware: str = ""

    @property
    def is_cpu(self) -> bool:
        return self.name == CPU

    @property
    def said(self) -> str:
        """The place and, of a card, which one it is."""
        return f"{self.place} ({self.hardware})" if self.hardware else self.place


ON_TORCH_CPU = TorchDevice()


def select_device(section: str, device: str, fallback: bool, torch: Any) -> TorchDevice:
    """The device to compute on, of those that `torch` has on this machine.

    Raises: ConfigError, with the device's name, if it is not there and `fallback` is not set.
    """
    there = devices_of(torch)
    wanted = f"{device}:0" if device in (CUDA, ROCM) else device
    if wanted in there:
        found = there[wanted]
        return TorchDevice(found.name, device, found.hardware)
    if fallback:
        return TorchDevice(CPU, f"{CPU} for want of {device}")
    raise ConfigError(
        f"[{section}] device = {device!r} cannot be used here: torch {torch.__version__} has "
        f"{', '.join(there)}; install what it needs, or allow the CPU with fallback = true"
    )


def devices_of(torch: Any) -> dict[str, TorchDevice]:
    """What torch can compute on here, by the name in a configuration; the CPU first."""
    found = [ON_TORCH_CPU]
    if torch.cuda.is_available():
        kind = ROCM if torch.version.hip else CUDA
        for number in range(torch.cuda.device_count()):
            name = f"{CUDA}:{number}"
            card = str(torch.cuda.get_device_name(number))
            found.append(TorchDevice(name, f"{kind}:{number}", card))
    if torch.backends.mps.is_available():
        found.append(TorchDevice(MPS, MPS, "Apple"))
    return {each.place: each for each in found}
