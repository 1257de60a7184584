"""A student that attends by windows, from its recipe to a version that loads. Its response graph
takes long to make; see `make test-extra NAME=export`.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest

from inference.engine import ready_version
from inference.runtime.settings import CpuSettings
from publishing.pipeline.build import PublisherKeys, build_version
from publishing.source.dataset import Dataset
from publishing.source.folder import SourceFolder
from publishing.watermark.key import Mark, WatermarkKey
from sealgate.trust.canonical import sha256
from sealgate.trust.keys import ECDSA_P256, PrivateKey
from tests.support.builders.training import recipes
from tests.support.builders.training.runs import make

pytestmark = [
    pytest.mark.skipif("SEALGATE_LONG" not in os.environ, reason="make test-extra NAME=export"),
    pytest.mark.timeout(900),
]
WINDOWS = 'width = 64\nattention = "window"\nwhole = 16\nblock = 8\n'
SIGNERS = PublisherKeys("publisher", PrivateKey.generate(ECDSA_P256), PrivateKey.generate())


class Log:
    def commit(self, model: str, commitment: str) -> int:
        return 1


def test_windows_are_trained_exported_and_published(tmp_path: Path) -> None:
    recipe = recipes.texts(tmp_path)
    recipe.write_text(recipe.read_text().replace("width = 32\n", WINDOWS))
    made = make(recipe, tmp_path / "made")
    source, data = SourceFolder.read(made.model), Dataset.read(made.data)
    kinds = {node.op_type for node in onnx.load_from_string(source.serving).graph.node}
    assert "Scan" in kinds
    assert (data.test.x >= 0).sum(1).max() > 16
    built = build_version(
        source,
        data,
        Mark(WatermarkKey("letters", bytes(range(32))), b"long", sha256(source.serving)),
        signers=SIGNERS,
        commitments=Log(),
        clock=lambda: datetime.now(UTC),
        seed=1,
        progress=lambda step, detail: None,
    )
    shares = built.report.measured.accuracies
    # Each text reaches as far in the graph as it did in training.
    assert shares.source == pytest.approx(made.report["accuracy"])
    assert min(shares.fp32, shares.int8) > shares.source - 0.03 > 0.8
    ready = ready_version.ReadyVersion.build("", built.files, CpuSettings(1))
    assert np.isfinite(ready.config.eps)
    assert "first_stage" in built.report.measured.screening["stages"]
