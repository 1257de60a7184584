"""The machine's resources for running models, as `sealgate doctor` reports them."""

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnxruntime

from inference.runtime.providers import bound_arena, check_provider
from inference.runtime.settings import (
    CGROUPS,
    CUDA,
    LARGEST_ARENA_MB,
    MEMBERSHIP,
    RuntimeSettings,
    available_cores,
    own_cgroups,
)
from sealgate.settings import ConfigError

RELEASE: str = onnxruntime.__version__
"""ONNX Runtime's."""
_MACHINE = Path("/proc/meminfo")


def available_memory(
    cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP, machine: Path = _MACHINE
) -> int:
    """Bytes; 0 where nothing can be read. Reads cgroup version 2 and 1 alike."""
    limits = [_number(folder / "memory.max") for folder in own_cgroups(cgroups, membership)]
    for folder in own_cgroups(cgroups / "memory", membership, "memory"):
        limits.append(_number(folder / "memory.limit_in_bytes"))
    limits.append(_total(machine))
    return min((limit for limit in limits if limit), default=0)


def with_bounded_arena(settings: RuntimeSettings, memory: int | None = None) -> RuntimeSettings:
    """The settings with a bound for what runs take, which this process now has: where none is
    stated, half of `memory` (bytes; by default the machine's or container's). Without one, a run
    that asks for gigabytes would end the process. A GPU has bounds of its own.

    Raises: ConfigError, as `bound_arena`.
    """
    if settings.is_on_gpu:
        return settings
    if settings.arena_mb:
        bound_arena(settings.arena_mb)
        return settings
    half = min((available_memory() if memory is None else memory) // 2 >> 20, LARGEST_ARENA_MB)
    if half:
        bound_arena(half, doubling=True)
    return replace(settings, arena_mb=half)


def _number(path: Path) -> int:
    text = _read(path).strip()
    # "max" says that there is no limit.
    return int(text) if text.isdigit() else 0


def _total(path: Path) -> int:
    for line in _read(path).splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.removesuffix("kB")) * 1024
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""


_PROCESSOR = Path("/proc/cpuinfo")
# Instructions that INT8 kernels use, as Linux names them on x86-64 and aarch64.
_INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
_MIB = 1 << 20
_GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_GPU_SECONDS = 20
# adjtimex(2): the state TIME_ERROR is that of a clock nothing keeps; struct timex is 208 bytes.
_CLOCK_ADRIFT = 5
_TIMEX_BYTES = 512

SYNCHRONIZED, ADRIFT, UNKNOWN = "synchronized", "not synchronized", "unknown"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU; `memory` is in bytes, or 0 if its driver does not say."""

    name: str
    memory: int


@dataclass(frozen=True, slots=True)
class HostMachine:
    """The resources of this process: `cores` and `memory` (bytes), by affinity and cgroup.

    `instructions` are the processor's that INT8 kernels use. `gpu_problem` says why onnxruntime
    cannot run on the `gpus`, or is empty. `free_disk` is in bytes. `clock` is one of SYNCHRONIZED,
    ADRIFT, UNKNOWN, as the kernel reports.
    """

    cores: int
    cores_of_machine: int
    memory: int
    instructions: tuple[str, ...]
    gpus: tuple[Gpu, ...]
    gpu_problem: str
    free_disk: int
    clock: str
    python: str
    onnxruntime: str
    providers: tuple[str, ...]

    @classmethod
    def look(cls, folder: Path) -> "HostMachine":
        """This machine; the disk is that of `folder`, which need not exist yet."""
        gpus = find_gpus()
        return cls(
            cores=available_cores(),
            cores_of_machine=os.cpu_count() or 1,
            memory=available_memory(),
            instructions=instructions(),
            gpus=gpus,
            gpu_problem=_gpu_problem() if gpus else "",
            free_disk=_free_disk(folder),
            clock=_clock(),
            python=platform.python_version(),
            onnxruntime=RELEASE,
            providers=tuple(onnxruntime.get_available_providers()),
        )


def instructions(processor: Path = _PROCESSOR) -> tuple[str, ...]:
    """Which of those that INT8 kernels use the first processor has."""
    try:
        lines = processor.read_text().splitlines()
    except OSError:
        return ()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            has = set(value.split())
            return tuple(flag for flag in _INSTRUCTIONS if flag in has)
    return ()


def find_gpus(query: Sequence[str] = _GPU_QUERY) -> tuple[Gpu, ...]:
    """NVIDIA's GPUs, as its driver lists them; none where there is no driver."""
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, check=True, timeout=_GPU_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    found = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
    return tuple(
        Gpu(name.strip(), int(size) * _MIB if size.strip().isdigit() else 0)
        for name, _, size in found
    )


def _gpu_problem() -> str:
    try:
        check_provider(RuntimeSettings(CUDA))
    except ConfigError as error:
        return str(error)
    return ""


def _free_disk(folder: Path) -> int:
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _clock() -> str:
    try:
        # `modes` is 0: nothing is set.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):
        return UNKNOWN
    if state < 0:
        return UNKNOWN
    return ADRIFT if state == _CLOCK_ADRIFT else SYNCHRONIZED
