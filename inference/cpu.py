"""How many cores this process may use, and how a graph of a given size is spread over them.

A container's share is in its cgroup, which neither `os.cpu_count` nor onnxruntime looks at; more
threads than that share only take turns.
"""

import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_log = logging.getLogger(__name__)

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# A graph below this size runs in microseconds on one core: a second thread costs more to wake than
# it saves, and a second lane only splits the batches.
SMALL_GRAPH = 1 << 20


@dataclass(frozen=True, slots=True)
class Spread:
    """`lanes` batches of a version may run at once, each on `threads` threads."""

    lanes: int
    threads: int

    def __post_init__(self) -> None:
        if self.lanes < 1 or self.threads < 1:
            raise ValueError("lanes and threads must be positive")


@dataclass(frozen=True, slots=True)
class CpuSettings:
    """`cores` to use in all, and how many of them one run of a large graph takes.

    One thread a run is the default. Several batches side by side then keep the cores busy without
    their having to wait for one another, and sums are never split in another way on a machine with
    more cores.
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

    def spread(self, graph_size: int) -> Spread:
        """The spread for a graph of `graph_size` bytes."""
        if graph_size < SMALL_GRAPH:
            return Spread(lanes=1, threads=1)
        return Spread(self.cores // self.threads_per_run, self.threads_per_run)


def available_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The lesser of the cores in the affinity mask and the cgroup's quota, rounded up; at least 1.

    Reads cgroup version 2 and 1 alike; a limit that cannot be read is none.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [*map(_quota_v2, own_cgroups(cgroups, membership))]
    quotas += map(_quota_v1, own_cgroups(cgroups / "cpu", membership, "cpu"))
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def own_cgroups(cgroups: Path, membership: Path, controller: str = "") -> list[Path]:
    """This process' cgroup below `cgroups` and those above it: each of them may set a limit.

    Of version 2, unless a `controller` of version 1 is named, whose folder `cgroups` then is.
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
