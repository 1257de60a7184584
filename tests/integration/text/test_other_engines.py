"""A text model behind an engine of another process, and one that a foreign server is to run."""

from pathlib import Path

import numpy as np
import pytest

from inference.backends.oip.foreign_server import OipLoader, OipSettings
from inference.engine.engine import Engine
from inference.engine.trust_state import RollbackGuardFile
from inference.engine.version_contents import INT8
from inference.runtime.settings import CpuSettings
from sealgate.reasons import Reason
from sealgate.tensors import read_outputs
from tests.support.builders.models.text_models import publish, question, sentences, version_files
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine_outcomes import FILES, only, promoted
from tests.support.harness.processes.engine_process import separate
from tests.support.harness.servers.foreign_servers import small_server

pytestmark = pytest.mark.slow


def test_a_separate_engine_takes_texts_and_cuts_them_itself(tmp_path: Path) -> None:
    with separate(tmp_path / "state") as (harness, _):
        publish(harness)
        texts, labels = sentences(30, 12)
        response = harness.inference().ModelInfer(question(*texts), timeout=60)
        logits = read_outputs(response)["logits"].data
        assert np.mean(logits.argmax(axis=1) == labels) >= 0.75
        live = harness.gateway.engine.live()["letters", "production"]
        assert live.ready.engine == "separate, digest checked there"


def test_a_foreign_server_is_given_no_text_model(tmp_path: Path) -> None:
    registry = UncheckedRegistry()
    promoted(registry, dict(version_files()))
    with small_server() as server:
        server.deploy("digits", 1, FILES[INT8])
        settings = OipSettings(address=server.address, name="theirs")
        loader = OipLoader(settings, CpuSettings(cores=2))
        seen = RollbackGuardFile.open(tmp_path / "seen.json")
        engine = Engine(registry.anchor, seen, registry.clock, loader)
        assert only(engine.update(registry, registry)) is Reason.ENGINE_UNSUITABLE
        loader.close()
