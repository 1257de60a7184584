"""Where cgroups are of version 1, a unit's CPUQuota stands in its own cgroup, and the quota was
looked for at the root alone: as many threads were started as the machine has cores, which then took
turns, and `sealgate doctor` told of cores that there were not.
"""

import os
from pathlib import Path

import pytest

from inference.cpu import available_cores

UNIT = "system.slice/sealgate-gateway.service"


@pytest.mark.parametrize(("quotas", "expected"), [((-1, -1, 150_000), 2), ((-1, 300_000, -1), 3)])
def test_the_quota_is_that_of_the_unit_and_of_those_above(
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
