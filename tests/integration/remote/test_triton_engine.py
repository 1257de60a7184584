"""`tritonclient` speaks to an engine's socket as to any server of the protocol."""

import json
import subprocess
from pathlib import Path

import numpy as np

from tests.support.builders.models.onnx_models import FEATURES
from tests.support.builders.models.version_files import clean_rows, int8_logits
from tests.support.harness.engine import EngineHarness
from tests.support.harness.engine_outcomes import FILES, MODEL
from tests.support.oracles.programs import python_with


def test_tritonclient_asks_an_engine_and_cannot_load_what_is_not_proved(
    harness: EngineHarness,
) -> None:
    made = harness.publish(FILES)
    harness.registry.promote(made)
    harness.show()
    x = clean_rows(MODEL, 3)
    program = Path(__file__).with_name("triton_engine.py")
    arguments = [str(harness.socket), made.digest, json.dumps(x.tolist())]
    done = subprocess.run(
        [python_with("tritonclient"), program, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)
    assert np.array_equal(np.array(saw.pop("logits"), np.float32), int8_logits(MODEL, x))
    assert saw == {
        "live": True,
        "ready": True,
        "index": [["digits", "1", "READY"]],
        "features": [3, FEATURES],
        "without_digest": "StatusCode.FAILED_PRECONDITION",
        "bare_load": "StatusCode.INVALID_ARGUMENT",
        "load_with_files": "StatusCode.INVALID_ARGUMENT",
        "unload": "StatusCode.PERMISSION_DENIED",
    }
