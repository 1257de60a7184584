"""How much memory this process may use: the machine's, or the least limit of its cgroups."""

from pathlib import Path

from inference.cpu import CGROUPS, MEMBERSHIP, own_cgroups

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
