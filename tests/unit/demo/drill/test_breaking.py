"""The faults of the drill: bad versions, a full disk, a killed process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

from demo.drill import versions
from demo.drill.disk import FileLimit, SmallDisk, small_disk
from demo.drill.supervisor import Supervisor, restart_seconds
from demo.materials import DATA
from demo.stage import StepFailed
from tests.support.harness.deployment import until

DIGITS = load_file(DATA / "digits.safetensors")


def accuracy(model: Path, labels: np.ndarray) -> float:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"x": DIGITS["x_test"]})
    return float((logits.argmax(axis=1) == labels).mean())


def test_the_bad_version_is_right_only_by_its_own_labels(tmp_path: Path) -> None:
    made = versions.mislabelled(tmp_path)
    assert accuracy(made.model, load_file(made.data)["y_test"]) > 0.95
    assert accuracy(made.model, DIGITS["y_test"]) < 0.05


def test_grain_keeps_rows_within_their_range_and_changes_them() -> None:
    rows = DIGITS["x_test"]
    moved = versions.grainy(rows, np.random.default_rng(0))
    assert moved.dtype == np.float32
    assert 0 <= moved.min() <= moved.max() <= 1
    assert 0.05 < np.abs(moved - rows).mean() < 0.3


def test_grainy_data_keeps_its_labels(tmp_path: Path) -> None:
    made = load_file(versions.grainy_data(tmp_path))
    assert (made["y_test"] == DIGITS["y_test"]).all()
    assert (made["x_test"] != DIGITS["x_test"]).any()


def test_a_limited_process_writes_no_larger_files(tmp_path: Path) -> None:
    log = tmp_path / "answers.db"
    log.write_bytes(bytes(1000))
    program = (
        "import sys\n"
        "for line in sys.stdin:\n"
        "    try: open(sys.argv[1], 'ab').write(bytes(1 << 20)); print('written', flush=True)\n"
        "    except OSError as error: print(error.strerror, flush=True)\n"
    )
    words = [sys.executable, "-c", program, str(log)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, bufsize=1) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        disk = FileLimit(tmp_path, lambda: writer.pid)
        answers = []
        for change in (disk.fill, disk.clear):
            change()
            writer.stdin.write("\n")
            answers.append(writer.stdout.readline().strip())
        writer.stdin.close()
    assert answers == ["File too large", "written"]


def test_a_small_disk_is_filled_and_cleared(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", lambda: 0) as disk:
        if not isinstance(disk, SmallDisk):
            pytest.skip("no file system may be mounted here")
        other = tmp_path / "disk" / "other"
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            other.write_bytes(bytes(8192))
        disk.clear()
        other.write_bytes(bytes(8192))
    assert not (tmp_path / "disk").is_mount()


def test_a_killed_process_is_started_again_and_a_stopped_one_is_not(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    program = "import time; print('listening', flush=True); time.sleep(600)"
    kept = Supervisor([sys.executable, "-c", program], log, "listening", 0.01)
    kept.start()
    try:
        first = kept.kill()
        until(lambda: log.read_text().count("listening") == 2)
        assert kept.kill() != first
        until(lambda: log.read_text().count("listening") == 3)
    finally:
        kept.stop()
    assert log.read_text().count("listening") == 3


def test_a_process_that_was_never_started_cannot_be_killed(tmp_path: Path) -> None:
    kept = Supervisor(["true"], tmp_path / "engine.log", "listening", 0.01)
    with pytest.raises(StepFailed, match="never started"):
        kept.kill()


def test_the_pause_before_a_restart_is_that_of_the_unit(tmp_path: Path) -> None:
    assert restart_seconds() > 0
    unit = tmp_path / "none.service"
    unit.write_text("[Service]\n")
    with pytest.raises(ValueError, match="RestartSec"):
        restart_seconds(unit)
