"""A version in another process: what its engine answers is held against what the gateway read."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from gateway.screening.prompt_classifier import TextVersion
from inference.backends.remote.remote_version import RemoteVersion, VersionTerms
from inference.batching.job import RequestOptions
from inference.engine.version_contents import DETECTOR, MODEL, TOKENIZER
from inference.screening.detector import Verdict
from inference.server.requests import FEATURES_OUTPUT
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason
from sealgate.tensors import Tensor, write_outputs
from sealgate.trust.canonical import sha256
from sealgate.trust.statements import Manifest
from tests.support.builders.documents.people import VERSION_DIGEST, refused
from tests.support.builders.models import text_models
from tests.support.builders.models.onnx_models import FEATURES, Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

NET = Perceptron.random()
FILES = VersionFiles.of(NET).encode()
X = clean_rows(NET, 2)
LOGITS = np.zeros((2, NET.classes), np.float32)
CLEAN = np.zeros((2, FEATURES), np.float32)


class Store:
    """Files by digest, as a test has them."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = {sha256(data): data for data in files.values()}

    def read(self, digest: str) -> bytes:
        return self.files[digest]


def response(**outputs: np.ndarray) -> oip.ModelInferResponse:
    made = oip.ModelInferResponse()
    write_outputs(made, [Tensor.of(name, data) for name, data in outputs.items()])
    return made


class Engine:
    """Answers with `response` and keeps what it was asked."""

    def __init__(self, answer: oip.ModelInferResponse) -> None:
        self.answer = answer
        self.asked: list[tuple[oip.ModelInferRequest, float | None]] = []

    def engine(self, digest: str) -> str:
        return f"of {digest}"

    def ask(
        self, digest: str, rows: int, request: oip.ModelInferRequest, deadline: float | None
    ) -> tuple[oip.ModelInferResponse, str]:
        self.asked.append((request, deadline))
        return self.answer, f"{rows} rows here"


def version(engine: Engine) -> RemoteVersion:
    terms = VersionTerms.read(Manifest.of(FILES), Store(FILES))
    return RemoteVersion(engine, "digits", 3, VERSION_DIGEST, terms)


def test_a_request_names_the_version_and_its_digest() -> None:
    engine = Engine(response(logits=LOGITS, **{FEATURES_OUTPUT: CLEAN}))
    ready = version(engine)
    deadline = time.monotonic() + 5
    answer = ready.submit(X, RequestOptions(deadline, urgent=True, caller="carla"))
    assert list(answer.outputs) == ["logits"]
    assert (ready.engine, answer.engine) == (f"of {VERSION_DIGEST}", "2 rows here")
    ((request, passed),) = engine.asked
    assert (request.model_name, request.model_version) == ("digits", "3")
    assert request.parameters["digest"].string_param == VERSION_DIGEST
    assert request.parameters["urgent"].bool_param
    assert request.parameters["caller"].string_param == "carla"
    assert passed == deadline
    counts = ready.counts()
    assert (counts.requests, counts.rows, counts.dropped) == (1, 2, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_are_an_attack(bad: float) -> None:
    features = CLEAN.copy()
    features[1, 0] = bad
    engine = Engine(response(logits=LOGITS, **{FEATURES_OUTPUT: features}))
    assert version(engine).submit(X).verdict is Verdict.ADVERSARIAL


def changed(change: Callable[[oip.ModelInferResponse], object]) -> oip.ModelInferResponse:
    made = response(logits=LOGITS, **{FEATURES_OUTPUT: CLEAN})
    change(made)
    return made


def emptied(made: oip.ModelInferResponse) -> None:
    made.outputs[0].shape[:] = (0, 2**62)
    made.raw_output_contents[0] = b""


@pytest.mark.parametrize(
    "answer",
    [
        oip.ModelInferResponse(),
        response(logits=LOGITS),
        response(**{FEATURES_OUTPUT: CLEAN}),
        response(logits=LOGITS[:1], **{FEATURES_OUTPUT: CLEAN}),
        response(logits=LOGITS, **{FEATURES_OUTPUT: CLEAN[:, 1:]}),
        response(logits=LOGITS, more=LOGITS, **{FEATURES_OUTPUT: CLEAN}),
        response(logits=LOGITS.astype(np.float64), **{FEATURES_OUTPUT: CLEAN}),
        changed(lambda made: made.raw_output_contents.append(b"")),
        changed(lambda made: made.raw_output_contents.pop()),
        changed(lambda made: made.outputs[0].shape.append(1)),
        changed(lambda made: made.outputs[0].shape.__setitem__(0, -2)),
        changed(lambda made: made.outputs[0].shape.__setitem__(0, 2**40)),
        # Nothing, but more of it than an array can have.
        changed(emptied),
        changed(lambda made: setattr(made.outputs[1], "name", "logits")),
    ],
)
def test_an_answer_of_another_form(answer: oip.ModelInferResponse) -> None:
    ready = version(Engine(answer))
    with refused(Reason.ANSWER_MALFORMED):
        ready.submit(X)
    assert ready.counts().dropped == 1


def test_what_is_not_even_asked() -> None:
    engine = Engine(oip.ModelInferResponse())
    ready = version(engine)
    with refused(Reason.BATCH_TOO_LARGE):
        ready.submit(clean_rows(NET, 17))
    with refused(Reason.BATCH_TOO_LARGE):
        ready.submit(X[:0])
    with refused(Reason.DEADLINE_TOO_SHORT):
        ready.submit(X, RequestOptions(active=lambda: False))
    assert ready.close()
    with refused(Reason.DRAINING):
        ready.submit(X)
    assert engine.asked == []


@pytest.mark.parametrize("name", [MODEL, DETECTOR])
def test_what_the_gateway_reads_is_verified(name: str) -> None:
    manifest, store = Manifest.of(FILES), Store(FILES)
    store.files[sha256(FILES[name])] = FILES[name] + b" "
    with refused(Reason.VERSION_ALTERED):
        VersionTerms.read(manifest, store)
    without = Manifest.of({path: data for path, data in FILES.items() if path != name})
    with refused(Reason.FILE_MISSING):
        VersionTerms.read(without, Store(FILES))


def test_what_cuts_texts_over_there_is_known_here() -> None:
    source = text_models.source()
    files = {MODEL: source.config.encode(), TOKENIZER: source.tokenizer or b""}
    files |= {DETECTOR: FILES[DETECTOR]}
    terms = VersionTerms.read(Manifest.of(files), Store(files))
    ready = RemoteVersion(Engine(response()), "letters", 1, VERSION_DIGEST, terms)
    assert isinstance(ready, TextVersion)
    assert ready.tokenizer is not None
    assert ready.tokenizer.spans("plan it") == [(0, 4), (5, 7)]
    assert version(Engine(response())).tokenizer is None
    altered = Store(files)
    altered.files[sha256(files[TOKENIZER])] += b" "
    with refused(Reason.VERSION_ALTERED):
        VersionTerms.read(Manifest.of(files), altered)
