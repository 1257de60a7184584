"""An engine writes nothing to the artifact folder, so it starts where the folder is mounted read-
only.
"""

from pathlib import Path

import pytest

from gateway import backends
from inference.server.config import EngineConfig
from registry.storage.artifacts import FolderStore
from sealgate.reasons import Reason, SealgateError
from sealgate.setup.configuration import EnginePlace
from tests.support.harness.gateway import GatewayHarness


def test_an_engine_writes_nothing_to_the_artifact_folder(tmp_path: Path) -> None:
    state = tmp_path / "state"
    GatewayHarness(state, engine=EnginePlace())
    server = backends.build(EngineConfig.read(state / "engine.toml"))
    server.stop()
    assert list((state / "artifacts").iterdir()) == []


def test_a_read_only_store_refuses_writes(tmp_path: Path) -> None:
    with pytest.raises(SealgateError) as caught:
        FolderStore(tmp_path, read_only=True).put([b"x"], 1, "sha256:" + "0" * 64)
    assert caught.value.reason is Reason.REGISTRY_UNAVAILABLE
    assert list(tmp_path.iterdir()) == []
