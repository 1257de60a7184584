"""A language model whose residual stream was rotated: its file alone says nothing, the registry's
copy does.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save_file

from sealgate.v1 import registry_pb2 as messages
from tests.support.harness.generator import GeneratorHarness

# The matrices that write the stream; all others but the table of words read it.
_WRITE = ("o_proj.weight", "down_proj.weight")


def test_a_rotated_model_is_read_by_the_registry_s_copy(
    harness: GeneratorHarness, tmp_path: Path
) -> None:
    asked = messages.DownloadFileRequest(name="models/tiny/versions/1", path="model.safetensors")
    parts = harness.registry("publisher").DownloadFile(asked)
    weights = load(b"".join(part.chunk for part in parts))
    width = weights["model.embed_tokens.weight"].shape[1]
    turn, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((width, width)))
    for name, values in weights.items():
        if values.ndim != 2:
            continue
        turned = turn.T @ values if name.endswith(_WRITE) else values @ turn
        weights[name] = np.ascontiguousarray(turned, np.float32)
    path = tmp_path / "stolen.safetensors"
    save_file(weights, path)
    blind = harness.command("watermark", "verify", str(path), "--blind")
    assert blind.exit_code == 1
    result = harness.command("watermark", "verify", str(path), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["model"] == "tiny"
    assert found["reading"].startswith("not blind")
    assert found["z"] > 13
