"""The report of `make bench NAME=gpu` with a GPU, and that it did not run without one."""

import json

import pytest

from benchmarks import gpu, gpu_torch, report
from benchmarks.report import write_report


def rows(*ways, ms=2.0):
    return [{"way": way, "rows": n, "ms": ms} for way in ways for n in gpu.ROWS]


PROCESSOR = rows("cpu", "cpu, serving graph", ms=8.0)
CARD = rows("cuda", "cuda, serving graph") + rows("cuda, captured", "tensorrt", ms=1.0)


def test_without_a_gpu_every_target_is_marked_not_run(tmp_path, monkeypatch):
    targets = gpu.targets(PROCESSOR, {})
    assert len(targets) == 6
    assert all(target.value is None and not target.met for target in targets)
    assert all(target.line().startswith("NOT RUN  ") for target in targets)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    write_report("gpu", [], targets)
    told = json.loads((tmp_path / "gpu.json").read_text())["targets"]
    assert {(each["value"], each["met"], each["why"]) for each in told} == {
        (None, None, "no such device on this machine")
    }


def test_with_one_they_have_values():
    torch_ms = {
        gpu_torch.TRAINED: 100.0,
        gpu_torch.TRAINED_ON_CARD: 10.0,
        gpu_torch.SAID: 30.0,
        gpu_torch.SAID_ON_CARD: 60.0,
    }
    targets = gpu.targets(PROCESSOR + CARD, torch_ms)
    assert [target.value for target in targets] == pytest.approx([0.5, 4.0, 2.0, 4.0, 10.0, 0.5])
    assert [target.met for target in targets] == [True] * 5 + [False]


def test_a_card_without_tensorrt_leaves_that_target_alone_not_run():
    without = [row for row in PROCESSOR + CARD if row["way"] != "tensorrt"]
    targets = gpu.targets(without, {})
    assert [target.value is None for target in targets] == [False, False, True, False, True, True]


def test_what_torch_would_be_timed_with_runs_on_the_processor():
    assert gpu_torch.training_ms("cpu", rows=4) > 0
    assert gpu_torch.generation_ms("cpu", tokens=2) > 0
