"""How many cores: the affinity mask and the quotas of cgroups, and how graphs are spread."""

import logging
import os
from pathlib import Path

import pytest

from inference.runtime import settings
from inference.runtime.settings import SMALL_GRAPH, CpuSettings, GraphSpread, available_cores


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.usefixtures("sixteen")
class TestAvailableCores:
    def cores(self, folder: Path) -> int:
        return available_cores(folder / "cgroup", folder / "membership")

    def test_without_a_cgroup_the_affinity_counts(self, tmp_path: Path) -> None:
        assert self.cores(tmp_path) == 16

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("max 100000\n", 16),
            ("250000 100000\n", 3),
            ("10000 100000\n", 1),
            ("9900000 100000\n", 16),
            ("150000 0\n", 16),
            ("nonsense\n", 16),
        ],
    )
    def test_version_2(self, tmp_path: Path, text: str, expected: int) -> None:
        write(tmp_path / "cgroup/cpu.max", text)
        assert self.cores(tmp_path) == expected

    def test_the_tightest_of_nested_limits_counts(self, tmp_path: Path) -> None:
        write(tmp_path / "membership", "0::/system.slice/sealgate.service\n")
        write(tmp_path / "cgroup/system.slice/cpu.max", "400000 100000\n")
        write(tmp_path / "cgroup/system.slice/sealgate.service/cpu.max", "max 100000\n")
        assert self.cores(tmp_path) == 4

    def test_version_1(self, tmp_path: Path) -> None:
        write(tmp_path / "cgroup/cpu/cpu.cfs_quota_us", "200000\n")
        write(tmp_path / "cgroup/cpu/cpu.cfs_period_us", "100000\n")
        assert self.cores(tmp_path) == 2
        write(tmp_path / "cgroup/cpu/cpu.cfs_quota_us", "-1\n")
        assert self.cores(tmp_path) == 16


def test_this_machine_has_a_core() -> None:
    assert 1 <= CpuSettings.detect().cores <= (os.cpu_count() or 1)


def test_a_small_graph_takes_one_core_and_a_large_one_all() -> None:
    assert CpuSettings(8).spread(SMALL_GRAPH - 1) == GraphSpread(lanes=1, threads=1)
    assert CpuSettings(8).spread(SMALL_GRAPH) == GraphSpread(lanes=8, threads=1)
    assert CpuSettings(8, threads_per_run=3).spread(SMALL_GRAPH) == GraphSpread(lanes=2, threads=3)


@pytest.mark.parametrize(("cores", "threads"), [(0, 1), (2, 3), (1, 0)])
def test_settings_must_make_sense(cores: int, threads: int) -> None:
    with pytest.raises(ValueError, match="threads_per_run"):
        CpuSettings(cores, threads)


UNIT = "system.slice/sealgate-gateway.service"


@pytest.mark.parametrize(("quotas", "expected"), [((-1, -1, 150_000), 2), ((-1, 300_000, -1), 3)])
def test_the_cpu_quota_is_the_smallest_of_the_cgroup_and_its_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quotas: tuple[int, ...], expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    (tmp_path / "membership").write_text(f"5:memory:/else\n4:cpu,cpuacct:/{UNIT}\n1:name=systemd:/")
    own = tmp_path / "cpu" / UNIT
    own.mkdir(parents=True)
    for folder, quota in zip((tmp_path / "cpu", own.parent, own), quotas, strict=True):
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(tmp_path, tmp_path / "membership") == expected


def test_a_run_has_no_more_threads_than_cores(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settings, "available_cores", lambda: 2)
    with caplog.at_level(logging.WARNING, "inference.runtime.settings"):
        assert CpuSettings.detect(8) == CpuSettings(2, threads_per_run=2)
    assert "threads_per_run = 8, but 2 cores" in caplog.text
    assert CpuSettings.detect(2) == CpuSettings(2, threads_per_run=2)
