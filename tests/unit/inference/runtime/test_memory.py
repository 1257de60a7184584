"""How much memory: the machine's, or the least limit of the cgroups that this process is in."""

from pathlib import Path

import pytest

from inference.runtime.machine import available_memory

MIB = 1 << 20


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path / "meminfo", "MemFree:  1 kB\nMemTotal:       8388608 kB\n")
    return tmp_path


def memory(place: Path) -> int:
    return available_memory(place / "cgroup", place / "membership", place / "meminfo")


def test_without_a_cgroup_it_is_the_machines(place: Path) -> None:
    assert memory(place) == 8192 * MIB


def test_where_nothing_can_be_read_it_is_not_known(tmp_path: Path) -> None:
    assert memory(tmp_path) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("536870912\n", 512), ("max\n", 8192), ("nonsense\n", 8192), ("99999999999999\n", 8192)],
)
def test_version_2(place: Path, text: str, expected: int) -> None:
    write(place / "cgroup/memory.max", text)
    assert memory(place) == expected * MIB


def test_the_tightest_of_nested_limits_counts(place: Path) -> None:
    write(place / "membership", "0::/system.slice/sealgate.service\n")
    write(place / "cgroup/system.slice/memory.max", f"{1024 * MIB}\n")
    write(place / "cgroup/system.slice/sealgate.service/memory.max", "max\n")
    assert memory(place) == 1024 * MIB


def test_version_1_has_a_place_of_its_own_for_memory(place: Path) -> None:
    write(place / "membership", "4:cpu,memory:/pod/one\n0::/elsewhere\n")
    write(place / "cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(place / "cgroup/memory/pod/one/memory.limit_in_bytes", f"{256 * MIB}\n")
    write(place / "cgroup/memory/elsewhere/memory.limit_in_bytes", f"{MIB}\n")
    assert memory(place) == 256 * MIB
