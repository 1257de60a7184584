"""Bursts on their way to engines: what travels together, and what becomes of each request."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

from inference.backends.remote.bursts import Attempt, BurstCalls, Engines, parcelled
from inference.backends.remote.messages import Answer, RemoteRequest, VersionMessages
from inference.backends.remote.placement import EnginePlacement, MeasuredEngine
from inference.batching.cost_model import BatchCosts
from inference.batching.job import RequestOptions
from inference.engine.result import InferenceResult
from inference.server.requests import FEATURES_OUTPUT
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from sealgate.tensors import Tensor, read_inputs, write_outputs
from sealgate.v1 import engine_pb2
from tests.support.builders.models.onnx_models import Perceptron
from tests.support.builders.models.version_files import VersionFiles, clean_rows

NET = Perceptron.random()
SOURCE = VersionFiles.of(NET)
DIGEST = "sha256:" + "a" * 64
MESSAGES = VersionMessages("digits", 3, DIGEST, SOURCE.config, SOURCE.detector)
WIDTH = SOURCE.detector.width


def asked(rows: int = 1, deadline: float | None = None, caller: str = "") -> RemoteRequest:
    return RemoteRequest(clean_rows(NET, rows), RequestOptions(deadline, caller=caller))


def answered(rows: int, start: int = 0) -> oip.ModelInferResponse:
    """Logits that say which row of the message they belong to."""
    response = oip.ModelInferResponse()
    logits = np.repeat(np.arange(start, start + rows, dtype=np.float32)[:, None], NET.classes, 1)
    outputs = {"logits": logits, FEATURES_OUTPUT: np.zeros((rows, WIDTH), np.float32)}
    write_outputs(response, [Tensor.of(name, data) for name, data in outputs.items()])
    return response


class FakeEngine:
    """Keeps what it was sent; `answer` says what comes of a message, None for nothing yet."""

    def __init__(self) -> None:
        self.takes_bursts = True
        self.sent: list[tuple[Any, Future[Any]]] = []
        self.answer: Callable[[Any], Any] = self.whole

    def begin(self, messages: VersionMessages, burst: Sequence[RemoteRequest]) -> Future[Any]:
        alone = len(burst) == 1
        message = messages.request(burst[0]) if alone else messages.burst(burst)
        call: Future[Any] = Future()
        self.sent.append((message, call))
        found = self.answer(message)
        if isinstance(found, SealgateError):
            call.set_exception(found)
        elif found is not None:
            call.set_result(found)
        return call

    def end(self, call: Future[Any], together: bool) -> Any:
        try:
            return call.result()
        except SealgateError as refusal:
            self.takes_bursts &= refusal.reason is not Reason.METHOD_UNSUITED
            raise

    def told(self, refusal: SealgateError) -> SealgateError:
        return refusal

    def whole(self, message: Any) -> Any:
        if isinstance(message, oip.ModelInferRequest):
            return answered(message.inputs[0].shape[0])
        rows = sum(item.rows for item in message.items)
        return engine_pb2.InferBurstResponse(rows=answered(rows))

    def refusing(self, *places: int, reason: Reason = Reason.QUEUE_FULL) -> Callable[[Any], Any]:
        """Answers the other requests of a burst."""

        def answer(message: engine_pb2.InferBurstRequest) -> engine_pb2.InferBurstResponse:
            rows = [item.rows for item in message.items]
            left = sum(rows) - sum(rows[place] for place in places)
            response = engine_pb2.InferBurstResponse(rows=answered(left) if left else None)
            for place in places:
                response.refusals.add(place=place, reason=reason.name, retry_seconds=7.0)
            return response

        return answer

    @property
    def sizes(self) -> list[int]:
        """How many requests each message had."""
        return [
            1 if isinstance(message, oip.ModelInferRequest) else len(message.items)
            for message, _ in self.sent
        ]


class Way:
    """A burst on its way to `engines`, of which the first is the fastest."""

    def __init__(self, *engines: FakeEngine) -> None:
        self.engines = {f"e{place}": engine for place, engine in enumerate(engines)}
        self.placement = EnginePlacement(self.engines)

    def send(self, *burst: RemoteRequest, most: int = 64):
        measured = {
            name: {DIGEST: MeasuredEngine(BatchCosts(((1, 1.0 + place),)), "cpu")}
            for place, name in enumerate(self.engines)
        }
        engines = Engines(self.engines, self.placement, lambda name, _, n: f"{name} of {n}")
        calls = BurstCalls(engines, DIGEST, MESSAGES)
        return calls.answers(dict(enumerate(burst)), Attempt(measured), most)

    def all(self, *burst: RemoteRequest, most: int = 64) -> list[Answer]:
        found = dict(each for part in self.send(*burst, most=most) for each in part)
        self.check_empty()
        return [found[place] for place in range(len(burst))]

    def check_empty(self) -> None:
        assert [self.placement.waiting(name) for name in self.engines] == [0] * len(self.engines)


def said(answer: Answer) -> Reason | str:
    return answer.reason if isinstance(answer, SealgateError) else answer.engine


def test_a_burst_travels_in_one_message() -> None:
    engine = FakeEngine()
    now = time.monotonic()
    answers = Way(engine).all(asked(2, now + 60, "ann"), asked(1, caller="bob"), asked(3))
    ((message, _),) = engine.sent
    assert [(item.rows, item.caller) for item in message.items] == [(2, "ann"), (1, "bob"), (3, "")]
    assert 59 < message.items[0].seconds <= 60
    assert message.items[1].seconds == 0
    assert message.rows.parameters["digest"].string_param == DIGEST
    assert read_inputs(message.rows)["x"].shape[0] == 6
    rows = [answer.outputs["logits"][:, 0].tolist() for answer in answers]
    assert rows == [[0, 1], [2], [3, 4, 5]]
    assert {said(answer) for answer in answers} == {"e0 of 1"}


def test_a_request_alone_is_asked_for_alone() -> None:
    engine = FakeEngine()
    (answer,) = Way(engine).all(asked(2))
    assert isinstance(engine.sent[0][0], oip.ModelInferRequest)
    assert isinstance(answer, InferenceResult)


@pytest.mark.parametrize(
    ("rows", "most", "expected"),
    [
        ([1] * 6, 4, [[0, 1, 2, 3], [4, 5]]),
        ([3, 2, 1], 4, [[0], [1, 2]]),
        ([9, 1], 4, [[0], [1]]),
        ([1] * 300, 1000, [list(range(256)), list(range(256, 300))]),
        ([], 4, []),
    ],
)
def test_what_fits_a_batch_travels_together(
    rows: list[int], most: int, expected: list[list[int]]
) -> None:
    burst = {place: asked(count) for place, count in enumerate(rows)}
    assert [list(parcel) for parcel in parcelled(burst, most)] == expected


def test_rows_of_another_shape_and_large_ones_travel_apart() -> None:
    options = RequestOptions()
    wide, narrow = (RemoteRequest(np.zeros((1, width), np.int64), options) for width in (16, 8))
    burst = dict(enumerate([wide, narrow, wide, narrow]))
    assert [list(parcel) for parcel in parcelled(burst, 64)] == [[0, 2], [1, 3]]
    large = RemoteRequest(np.zeros((1, 200_000), np.float32), options)
    assert [list(p) for p in parcelled({0: large, 1: large}, 64)] == [[0], [1]]
    texts = RemoteRequest(np.array([b"x" * 600_000], object), options)
    assert [list(p) for p in parcelled({0: texts, 1: texts}, 64)] == [[0], [1]]


def test_a_refusal_of_one_is_no_other_s() -> None:
    engine = FakeEngine()
    engine.answer = engine.refusing(1)
    first, second, third = Way(engine).all(asked(2), asked(1), asked(1))
    assert (said(first), said(third)) == ("e0 of 1", "e0 of 1")
    assert isinstance(second, SealgateError)
    assert (second.reason, second.retry) == (Reason.QUEUE_FULL, 7.0)
    assert isinstance(third, InferenceResult)
    assert third.outputs["logits"][:, 0].tolist() == [2]


def test_another_engine_is_asked_for_what_one_has_no_room_for() -> None:
    full, other = FakeEngine(), FakeEngine()
    full.answer = full.refusing(0, 2)
    answers = Way(full, other).all(asked(), asked(), asked())
    assert [said(answer) for answer in answers] == ["e1 of 1", "e0 of 1", "e1 of 1"]
    assert (full.sizes, other.sizes) == ([3], [2])


def test_entries_say_how_many_were_asked() -> None:
    away, other = FakeEngine(), FakeEngine()
    away.answer = lambda _: SealgateError(Reason.ENGINE_UNAVAILABLE)
    answers = Way(away, other).all(asked(), asked())
    assert [said(answer) for answer in answers] == ["e1 of 2"] * 2
    other.answer = away.answer
    answers = Way(away, other).all(asked(), asked())
    assert [said(answer) for answer in answers] == [Reason.ENGINE_UNAVAILABLE] * 2


@pytest.mark.parametrize("reason", [Reason.RUN_HUNG, Reason.VERSION_REVOKED])
def test_what_no_other_would_answer_better(reason: Reason) -> None:
    one, other = FakeEngine(), FakeEngine()
    one.answer = one.refusing(0, reason=reason)
    answers = Way(one, other).all(asked(), asked())
    assert [said(answer) for answer in answers] == [reason, "e0 of 1"]
    assert other.sizes == []


def test_an_engine_of_an_older_release_is_asked_one_by_one() -> None:
    engine = FakeEngine()

    def older(message: Any) -> Any:
        if isinstance(message, engine_pb2.InferBurstRequest):
            return SealgateError(Reason.METHOD_UNSUITED)
        return engine.whole(message)

    engine.answer = older
    way = Way(engine)
    assert [said(each) for each in way.all(asked(), asked(), asked())] == ["e0 of 1"] * 3
    assert engine.sizes == [3, 1, 1, 1]
    way.all(asked(), asked())
    assert engine.sizes[4:] == [1, 1]


def test_who_runs_out_of_time_waits_for_no_other() -> None:
    engine = FakeEngine()
    engine.answer = lambda _: None
    way = Way(engine)
    parts = way.send(asked(deadline=time.monotonic() + 0.05), asked())
    ((place, answer),) = next(parts)
    assert (place, said(answer)) == (0, Reason.DEADLINE_TOO_SHORT)
    ((message, call),) = engine.sent
    call.set_result(engine.whole(message))
    ((place, answer),) = next(parts)
    assert (place, said(answer)) == (1, "e0 of 1")
    assert next(parts, None) is None
    way.check_empty()


def test_a_call_that_nobody_waits_for_is_cancelled() -> None:
    engine = FakeEngine()
    engine.answer = lambda _: None
    way = Way(engine)
    late = time.monotonic() + 0.05
    assert [said(each) for each in way.all(asked(deadline=late), asked(deadline=late))] == [
        Reason.DEADLINE_TOO_SHORT,
        Reason.DEADLINE_TOO_SHORT,
    ]
    parts = way.send(asked(deadline=late), asked())
    next(parts)
    parts.close()
    way.check_empty()
    assert [call.cancelled() for _, call in engine.sent] == [True, True]


def test_a_fast_answer_does_not_wait_for_a_slow_one() -> None:
    engine = FakeEngine()
    engine.answer = lambda message: engine.whole(message) if len(engine.sent) == 2 else None
    parts = Way(engine).send(asked(), asked(), asked(), asked(), most=2)
    assert [place for place, _ in next(parts)] == [2, 3]
    message, call = engine.sent[0]
    call.set_result(engine.whole(message))
    assert [place for place, _ in next(parts)] == [0, 1]


def burst_response(**changes: Any) -> engine_pb2.InferBurstResponse:
    return engine_pb2.InferBurstResponse(**{"rows": answered(2), **changes})


REFUSAL = engine_pb2.BurstRefusal(place=0, reason="QUEUE_FULL")


@pytest.mark.parametrize(
    "response",
    [
        engine_pb2.InferBurstResponse(),
        burst_response(rows=answered(1)),
        burst_response(rows=answered(3)),
        burst_response(refusals=[REFUSAL]),
        burst_response(rows=answered(1), refusals=[REFUSAL, REFUSAL]),
        burst_response(refusals=[engine_pb2.BurstRefusal(place=2, reason="QUEUE_FULL")]),
    ],
)
def test_an_answer_of_another_form(response: engine_pb2.InferBurstResponse) -> None:
    engine = FakeEngine()
    engine.answer = lambda _: response
    answers = Way(engine).all(asked(), asked())
    assert [said(answer) for answer in answers] == [Reason.ANSWER_MALFORMED] * 2


@pytest.mark.parametrize(
    ("seconds", "retry"), [(1e300, 60.0), (-1.0, 0.0), (float("nan"), None), (None, None)]
)
def test_what_an_engine_says_of_a_refusal(seconds: float | None, retry: float | None) -> None:
    engine = FakeEngine()
    refusals = [
        engine_pb2.BurstRefusal(place=place, reason=reason, retry_seconds=seconds)
        for place, reason in enumerate(("RUN_HUNG", "MOON_TOO_FULL"))
    ]
    engine.answer = lambda _: engine_pb2.InferBurstResponse(refusals=refusals)
    hung, unknown = Way(engine).all(asked(), asked())
    assert isinstance(hung, SealgateError)
    assert (hung.reason, hung.retry) == (Reason.RUN_HUNG, retry)
    assert said(unknown) == Reason.ENGINE_UNAVAILABLE
