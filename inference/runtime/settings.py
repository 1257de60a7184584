"""The section `[runtime]`: execution provider, memory and GPU bounds, and the share of the CPU.

A container's share of the CPU is set in its cgroup. Neither `os.cpu_count` nor onnxruntime reads
it, and more threads than that share only take turns.
"""

import logging
import math
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sealgate.settings import ConfigError

CPU, CUDA, TENSORRT, OPENVINO = "cpu", "cuda", "tensorrt", "openvino"
ROCM, MIGRAPHX, QNN = "rocm", "migraphx", "qnn"
PROVIDERS = {
    CPU: ("CPUExecutionProvider",),
    CUDA: ("CUDAExecutionProvider",),
    # CUDA runs what TensorRT has no kernel for.
    TENSORRT: ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
    OPENVINO: ("OpenVINOExecutionProvider",),
    ROCM: ("ROCMExecutionProvider",),
    MIGRAPHX: ("MIGraphXExecutionProvider",),
    QNN: ("QNNExecutionProvider",),
}
"""The name that onnxruntime has for each provider that may be configured."""

LARGEST_ARENA_MB = 1 << 20
_NUMBER, _ONE = r"[0-9]{1,2}", r"(?:CPU|GPU(?:\.[0-9]{1,2})?|NPU)"
# How each provider names its devices; the processor has but one.
_DEVICES = {
    CUDA: _NUMBER,
    TENSORRT: _NUMBER,
    ROCM: _NUMBER,
    MIGRAPHX: _NUMBER,
    OPENVINO: rf"{_ONE}|(?:AUTO|HETERO|MULTI):{_ONE}(?:,{_ONE})*",
    QNN: "cpu|gpu|htp",
}


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """How ONNX Runtime runs the graphs of versions."""

    provider: str = CPU
    """The execution provider that must run every graph: `cpu`, `cuda`, `tensorrt`, `rocm`,
    `migraphx`, `openvino` or `qnn`.
    """
    device: str = ""
    """The device of the provider: a number for CUDA, TensorRT, ROCm and MIGraphX; `CPU`, `GPU`,
    `NPU` or a value such as `AUTO:NPU,CPU` for OpenVINO; `htp`, `gpu` or `cpu` for QNN. By default
    the first; for OpenVINO its `CPU`, for QNN `htp`.
    """
    fallback: bool = False
    """Run a graph on the CPU if the provider cannot run all of it; every record says so."""
    deterministic: bool = False
    """Give the same answer, bit for bit, in any batch."""
    tolerance: float = 0.0
    """The allowed deviation, absolute and relative, of golden answers and of answers in other
    batches; by default 1e-5 for golden answers and none for others.
    """
    threads_per_run: int = 1
    """Cores for a run of a large graph."""
    arena_mb: int = 0
    """The most MiB that runs use beyond weights: for all versions together on the CPU, by default
    half of the machine's or container's memory; for each graph on a GPU, by default no bound.
    """
    trial: bool = True
    """Load each version in a confined worker first, with bounds of time and memory; without it, a
    graph that takes all time or memory while it is loaded takes this process's.
    """
    cuda_graphs: bool = False
    """Replay captured CUDA graphs for batches of fixed sizes."""

    def __post_init__(self) -> None:
        if self.provider not in PROVIDERS:
            raise ConfigError(f"[runtime] provider is one of {', '.join(PROVIDERS)}")
        self._check_device()
        if self.tolerance > 0.1:
            raise ConfigError("[runtime] tolerance must be at most 0.1")
        if self.arena_mb > LARGEST_ARENA_MB:
            raise ConfigError(f"[runtime] arena_mb is {LARGEST_ARENA_MB} at most")
        if self.cuda_graphs and not self.is_on_gpu:
            raise ConfigError('[runtime] cuda_graphs needs provider = "cuda" or "tensorrt"')
        if self.fallback and self.provider == CPU:
            raise ConfigError("[runtime] fallback is to the CPU, which is already the provider")

    def _check_device(self) -> None:
        if self.device and not re.fullmatch(_DEVICES.get(self.provider, ""), self.device):
            raise ConfigError(
                f"[runtime] device = {self.device!r} is none that provider = {self.provider!r} has"
            )
        # OpenVINO chooses for itself, and begins on the CPU while another device gets ready.
        if ":" in self.device and not self.fallback:
            raise ConfigError(
                f"[runtime] device = {self.device!r} may run on the CPU: allow that with "
                "fallback = true, or name one device"
            )

    @property
    def place(self) -> str:
        """Where a graph runs that nothing keeps from it, in words."""
        return f"{self.provider} {self.device}" if self.device else self.provider

    @property
    def is_on_gpu(self) -> bool:
        return self.provider in (CUDA, TENSORRT)


ON_CPU = RuntimeSettings()


_log = logging.getLogger(__name__)

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# A graph below this size runs in microseconds on one core: a second thread costs more to wake than
# it saves, and a second lane only splits the batches.
SMALL_GRAPH = 1 << 20


@dataclass(frozen=True, slots=True)
class GraphSpread:
    """How a version uses the CPU: `lanes` parallel batches, each on `threads` threads."""

    lanes: int
    threads: int

    def __post_init__(self) -> None:
        if self.lanes < 1 or self.threads < 1:
            raise ValueError("lanes and threads must be positive")


@dataclass(frozen=True, slots=True)
class CpuSettings:
    """`cores` to use in all, and how many of them one run of a large graph takes.

    The default is one thread per run. Several parallel batches then keep the cores busy without
    waiting for one another, and sums are not split differently on a machine with more cores.
    """

    cores: int
    threads_per_run: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.threads_per_run <= self.cores:
            raise ValueError("threads_per_run must lie between 1 and cores")

    @classmethod
    def detect(cls, threads_per_run: int = 1) -> Self:
        """The settings for the cores that this process may use; a run takes no more than those."""
        cores = available_cores()
        if threads_per_run > cores:
            text = "[runtime] threads_per_run = %d, but %d cores may be used: a run takes those"
            _log.warning(text, threads_per_run, cores)
        return cls(cores, min(cores, threads_per_run))

    def spread(self, graph_size: int) -> GraphSpread:
        """The spread for a graph of `graph_size` bytes."""
        if graph_size < SMALL_GRAPH:
            return GraphSpread(lanes=1, threads=1)
        return GraphSpread(self.cores // self.threads_per_run, self.threads_per_run)


def available_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The smaller of the affinity mask's cores and the cgroup's quota, rounded up; at least 1.

    Reads cgroup versions 2 and 1; an unreadable limit counts as none.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [*map(_quota_v2, own_cgroups(cgroups, membership))]
    quotas += map(_quota_v1, own_cgroups(cgroups / "cpu", membership, "cpu"))
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def own_cgroups(cgroups: Path, membership: Path, controller: str = "") -> list[Path]:
    """This process's cgroup below `cgroups` and its ancestors: each may set a limit.

    They are of version 2, unless a `controller` of version 1 is named; then `cgroups` is its
    folder.
    """
    own = ""
    for line in (_read(membership) or "").splitlines():
        _, _, place = line.partition(":")
        controllers, _, path = place.partition(":")
        if controller in controllers.split(","):
            own = path
    parts = [part for part in own.split("/") if part and part != ".."]
    return [cgroups.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = (_read(folder / "cpu.max") or "").partition(" ")
    return _ratio(quota, period)


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return _ratio(quota or "", period or "")


def _ratio(quota: str, period: str) -> float | None:
    quota, period = quota.strip(), period.strip()
    # "max" and "-1" both say that there is no limit.
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None


# A run that hangs must not keep the others from running at all: they then go ahead, crowded.
_PATIENCE_SECONDS = 1.0


class CorePool:
    """A bounded number of parallel runs, shared by all versions. Safe for many threads.

    Each version may fill all cores, so several busy ones would run more threads than there are
    cores and only take turns, at the price of each other's caches.
    """

    def __init__(self, runs: int, patience: float = _PATIENCE_SECONDS) -> None:
        self._room = threading.Semaphore(runs)
        self._patience = patience
        self._mutex = threading.Lock()
        # The holder of each taken place.
        self._holders: dict[object, object] = {}

    @contextmanager
    def taken(self, holder: object) -> Iterator[bool]:
        """Hold a place while the block runs; yields whether one was free in time."""
        place = object()
        free = self._room.acquire(timeout=self._patience)
        if free:
            with self._mutex:
                self._holders[place] = holder
        try:
            yield free
        finally:
            self._free([place])

    def take_back(self, holder: object) -> None:
        """Free the places of a holder whose runs do not end."""
        with self._mutex:
            places = [place for place, held in self._holders.items() if held is holder]
        self._free(places)

    def _free(self, places: list[object]) -> None:
        """Free those of the places that still are taken."""
        with self._mutex:
            freed = sum(self._holders.pop(place, None) is not None for place in places)
        if freed:
            self._room.release(freed)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How graphs run: the runtime `settings`, and the `cores` that all versions share."""

    settings: RuntimeSettings = ON_CPU
    cores: CorePool | None = None


ALONE = RunSettings()
"""On the processor, with nobody to share it with."""
