"""A gateway checks what a generator sends: ids, lengths, scores and reasons."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.pipeline.generate import GenerationPipeline
from inference.backends.remote.generator import RemoteGenerator, read_pieces
from inference.llm import messages
from inference.llm.messages import AnswerPart, read_part, read_prologue
from inference.llm.request import Sampling, SamplingRequest
from sealgate.oip import grpc_service_pb2 as oip
from sealgate.reasons import Reason, SealgateError
from tests.support.fakes.generation import free_enforcement


def piece(*ids: int, finish: str = "") -> oip.ModelInferResponse:
    response = oip.ModelInferResponse()
    messages.write_part(response, AnswerPart(ids, b"x", finish))
    return response


@pytest.mark.parametrize("ids", [(), (-1,), (3, -5)])
def test_a_prompt_has_ids(ids: tuple[int, ...]) -> None:
    response = oip.ModelInferResponse()
    messages.write_prologue(response, ids, 0.5)
    with pytest.raises(SealgateError) as found:
        read_prologue(response)
    assert found.value.reason is Reason.ANSWER_MALFORMED


def test_an_answer_has_ids() -> None:
    with pytest.raises(SealgateError) as found:
        read_part(piece(-1))
    assert found.value.reason is Reason.ANSWER_MALFORMED


@pytest.mark.parametrize("sent", [[piece(1)] * 4, [piece(1, 2)], [piece()]])
def test_more_tokens_than_requested_are_refused(sent: list[oip.ModelInferResponse]) -> None:
    with pytest.raises(SealgateError) as found:
        list(read_pieces(iter(sent), 3))
    assert found.value.reason is Reason.ANSWER_MALFORMED
    asked_for = [piece(1), piece(1), piece(1, finish="length")]
    assert len(list(read_pieces(iter(asked_for), 3))) == 3


def test_the_text_of_an_answer_is_bounded() -> None:
    long = oip.ModelInferResponse()
    messages.write_part(long, AnswerPart((1,), b"x" * 4096, "stop"))
    with pytest.raises(SealgateError) as found:
        list(read_pieces(iter([long]), 3))
    assert found.value.reason is Reason.ANSWER_MALFORMED


def test_an_unknown_finish_reason_is_refused() -> None:
    with pytest.raises(SealgateError) as found:
        read_part(piece(1, finish="because"))
    assert found.value.reason is Reason.ANSWER_MALFORMED


def begin(number: int, score: float | None = 0.5, screening: object = "a screen") -> None:
    """Have a prompt of so many tokens answered, where eight are allowed."""

    class FakeEngine:
        @contextmanager
        def streaming(self, *_: Any) -> Iterator[Iterator[oip.ModelInferResponse]]:
            response = oip.ModelInferResponse()
            messages.write_prologue(response, range(number), score)
            yield iter([response])

    engine: Any = FakeEngine()
    cleared: Any = SimpleNamespace(pointer=SimpleNamespace(model="tiny", version=1, digest=""))
    terms: Any = SimpleNamespace(
        prompt_tokens=8, screening=screening, check=lambda _: None, runs_in=str
    )
    generator = RemoteGenerator(engine, cleared, terms)
    with generator.begin(SamplingRequest(b"x", False, Sampling(1)), 0.0, "client", lambda _: None):
        pass


def test_a_prompt_is_no_longer_than_its_terms_allow() -> None:
    begin(8)
    with pytest.raises(SealgateError) as found:
        begin(9)
    assert found.value.reason is Reason.ANSWER_MALFORMED


@pytest.mark.parametrize(("score", "screening"), [(None, "a screen"), (0.5, None)])
def test_a_prompt_is_measured_as_its_terms_say(score: float | None, screening: object) -> None:
    begin(8, None, None)
    with pytest.raises(SealgateError) as found:
        begin(8, score, screening)
    assert found.value.reason is Reason.ANSWER_MALFORMED


def test_an_error_in_the_middle_has_an_end() -> None:
    written: list[Any] = []

    class Recorder:
        def record(self, outcome: Any) -> Any:
            written.append(outcome)
            return SimpleNamespace(encode=lambda: b"")

    class Breaking(GenerationPipeline):
        def _parts(self, request: Any, call: Any, work: Any) -> Any:
            self._record(call, work, "opened")
            yield oip.ModelInferResponse()
            raise OverflowError("the prompt, say")

    policy: Any = SimpleNamespace(digest="sha256:0")
    unresolved: Any = SimpleNamespace(ended=lambda *_: None)
    recorder: Any = Recorder()
    unused: Any = SimpleNamespace()
    generate = Breaking(
        unused,
        recorder,
        free_enforcement(unused, lambda: policy),
        unused,
        lambda: datetime(2026, 1, 1, tzinfo=UTC),
        60.0,
        unresolved,
    )
    call: Any = SimpleNamespace(
        principal=SimpleNamespace(name="client"), method="/x", is_active=lambda: True
    )
    *_, told = generate.stream(oip.ModelInferRequest(model_name="tiny"), call)
    assert Counter(one.outcome for one in written) == Counter(["opened", Reason.INTERNAL.name])
    assert told.error_message.startswith(Reason.INTERNAL.name)
    assert "prompt" not in told.error_message
