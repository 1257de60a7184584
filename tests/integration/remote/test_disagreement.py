"""Where graphs run elsewhere, answers are compared with the float32 model there and judged here."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from inference.backends.remote.remote_version import RemoteVersion, VersionTerms
from inference.engine.version_contents import DETECTOR
from inference.screening.detector import Verdict
from sealgate.oip import grpc_service_pb2 as oip
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import (
    VersionFiles,
    apart_rows,
    clean_rows,
    compared,
    margin,
)
from tests.support.fakes.registry import UncheckedRegistry
from tests.support.harness.engine import EngineHarness, engine_harness
from tests.support.harness.replicated_engine import replicated_engine_harness

MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL)
DETECTED = compared(FILES.detector)
Opened = Callable[[UncheckedRegistry, Path], AbstractContextManager[EngineHarness]]


class SocketEngine:
    """Asks the separate engine over its socket."""

    def __init__(self, harness: EngineHarness) -> None:
        self.harness = harness

    def engine(self, digest: str) -> str:
        return "there"

    def ask(
        self, digest: str, rows: int, request: oip.ModelInferRequest, deadline: float | None
    ) -> tuple[oip.ModelInferResponse, str]:
        return self.harness.stub.ModelInfer(request, timeout=60), "there"


@pytest.fixture(params=[engine_harness, replicated_engine_harness], ids=["engine", "replicas"])
def remote(
    request: pytest.FixtureRequest, registry: UncheckedRegistry, tmp_path: Path
) -> Iterator[RemoteVersion]:
    opened: Opened = request.param
    with opened(registry, tmp_path) as harness:
        made = harness.publish({**FILES.encode(), DETECTOR: DETECTED.encode()})
        registry.promote(made)
        harness.show()
        terms = VersionTerms(FILES.config, DETECTED)
        yield RemoteVersion(SocketEngine(harness), "digits", made.number, made.digest, terms)


def test_an_answer_that_only_int8_gives_is_adversarial(remote: RemoteVersion) -> None:
    rows = clean_rows(MODEL, 300, seed=9)
    sure = rows[np.argsort(-margin(MODEL.logits(rows)))[:6]]
    for x, verdict in ((sure, Verdict.CLEAN), (apart_rows(MODEL, 6), Verdict.ADVERSARIAL)):
        answer = remote.submit(x)
        assert answer.verdict is verdict
        assert set(answer.outputs) == {"logits"}
        assert (answer.features[:, -1] == (verdict is Verdict.ADVERSARIAL)).all()
