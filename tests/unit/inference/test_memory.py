"""A version whose process has no memory for a batch: it answers all the same, in parts."""

import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("arena", ["on", "off"])
def test_a_batch_that_memory_has_no_room_for_is_answered_in_halves(arena: str) -> None:
    """onnxruntime really fails here: its arena or malloc gets no more from the kernel."""
    command = [sys.executable, "-m", "tests.support.cramped", arena]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.get("right") is True, found
    assert 1 <= found["rows"] < 16
    assert found["faults"]["OUT_OF_MEMORY"] >= 1
