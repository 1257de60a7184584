"""Export of classifiers of rows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
_ALONE = """
import torch
from training.export.classifier import export_serving

print(len(export_serving(torch.nn.Linear(4, 3).eval(), (4,))))
"""


@pytest.mark.slow
def test_a_process_that_has_loaded_no_encoder_exports_a_classifier() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ALONE],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 0
