"""Where graphs run elsewhere, answers are compared with the float32 model there and judged here."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from inference.backends.remote.remote_version import RemoteVersion, VersionTerms
from inference.engine.ready_version import DETECTOR
from inference.screening.detector import Verdict
from sealgate.oip import grpc_service_pb2 as oip
from tests.support.onnx_models import Perceptron
from tests.support.paper_registry import PaperRegistry
from tests.support.paper_room import PaperRoom, paper_room
from tests.support.replicated_room import replicated_room
from tests.support.version_files import VersionFiles, apart_rows, clean_rows, compared, margin

MODEL = Perceptron.random()
FILES = VersionFiles.of(MODEL)
DETECTED = compared(FILES.detector)
Opened = Callable[[PaperRegistry, Path], AbstractContextManager[PaperRoom]]


class ToRoom:
    """Asks the room's engine over its socket."""

    def __init__(self, room: PaperRoom) -> None:
        self.room = room

    def engine(self, digest: str) -> str:
        return "there"

    def ask(
        self, digest: str, rows: int, request: oip.ModelInferRequest, deadline: float | None
    ) -> tuple[oip.ModelInferResponse, str]:
        return self.room.stub.ModelInfer(request, timeout=60), "there"


@pytest.fixture(params=[paper_room, replicated_room], ids=["engine", "replicas"])
def remote(
    request: pytest.FixtureRequest, registry: PaperRegistry, tmp_path: Path
) -> Iterator[RemoteVersion]:
    opened: Opened = request.param
    with opened(registry, tmp_path) as room:
        made = room.publish({**FILES.encode(), DETECTOR: DETECTED.encode()})
        registry.promote(made)
        room.show()
        terms = VersionTerms(FILES.config, DETECTED)
        yield RemoteVersion(ToRoom(room), "digits", made.number, made.digest, terms)


def test_an_answer_that_only_int8_gives_is_adversarial(remote: RemoteVersion) -> None:
    rows = clean_rows(MODEL, 300, seed=9)
    sure = rows[np.argsort(-margin(MODEL.logits(rows)))[:6]]
    for x, verdict in ((sure, Verdict.CLEAN), (apart_rows(MODEL, 6), Verdict.ADVERSARIAL)):
        answer = remote.submit(x)
        assert answer.verdict is verdict
        assert set(answer.outputs) == {"logits"}
        assert (answer.features[:, -1] == (verdict is Verdict.ADVERSARIAL)).all()
