"""Token quotas count prompts and answers of an OpenAI server, also of callers that leave early."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.admission.quotas import QuotaLimiter
from gateway.config.optional_sections import Quota, QuotaStore
from gateway.pipeline.generate import GenerationPipeline
from gateway.screening.prompt_classifier import PromptClassifier
from gateway.transport.http.chat import read_chat
from inference.backends.remote.generator import Generator, StartedAnswer
from inference.engine.statistics import Duration, Statistics
from inference.llm.messages import AnswerPart
from sealgate.reasons import Reason, SealgateError
from sealgate.trust.policy import Consequence
from sealgate.trust.policy.screening import ScreeningRules, VerdictActions
from tests.support.fakes.generation import free_enforcement

CLIENT: Any = SimpleNamespace(name="client", roles=("client",))
CLEARED: Any = SimpleNamespace(pointer=SimpleNamespace(model="tiny", version=1, digest=""))
TERMS: Any = SimpleNamespace(prompt_tokens=60, output_tokens=10, check=lambda _: None)
TERMS.screening = None
CALL: Any = SimpleNamespace(
    method="chat",
    principal=CLIENT,
    time_remaining=lambda: None,
    is_active=lambda: True,
    add_callback=lambda _: True,
)
# Far more than the bytes of 60 tokens.

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "word " * 50}]}


class Elsewhere(Generator):
    """Says so many words, each one `said`, and ends with the error; or fails with it before the
    first word, where it `waits`.
    """

    def __init__(
        self, words: int, error: Exception | None, said: bytes = b"x", waits: bool = False
    ) -> None:
        super().__init__(CLEARED, TERMS, "elsewhere")
        self._words, self._error, self._said, self._waits = words, error, said, waits

    @contextmanager
    def _begin(self, *_: Any) -> Iterator[StartedAnswer]:
        if self._waits and self._error is not None:
            raise self._error
        yield StartedAnswer((), None, self._pieces())

    def _pieces(self) -> Iterator[AnswerPart]:
        for _ in range(self._words):
            yield AnswerPart((), self._said)
        if self._error is not None:
            raise self._error
        yield AnswerPart((), b"", "stop", (20, self._words))


def left(elsewhere: Elsewhere, parts: int, call: Any = CALL) -> int:
    """How many of 100 tokens are left after so many parts of an answer are taken."""
    quotas = QuotaLimiter.of([Quota(role="client", tokens="100/hour")], QuotaStore())
    live = SimpleNamespace(
        model="m", alias="production", ready=elsewhere, digest="", version=1, sequence=1
    )
    live.policy, live.statistics = "", elsewhere.statistics
    engine: Any = SimpleNamespace(resolve=lambda *_: live, is_revoked=lambda *_: False)
    screen = ScreeningRules(VerdictActions(adversarial=Consequence.FLAG))
    policy: Any = SimpleNamespace(screen=lambda _: screen, rules=None, digest="")
    receipt = SimpleNamespace(encode=lambda: b"")
    recorder: Any = SimpleNamespace(record=lambda _: receipt)
    generate = GenerationPipeline(
        engine,
        recorder,
        free_enforcement(engine, lambda: policy),
        quotas,
        lambda: datetime.now(UTC),
        60,
        Statistics(),
    )
    answer: Any = generate.parts(read_chat(json.dumps(CHAT).encode()).request, call, True, True)
    with suppress(SealgateError):
        for _ in range(parts):
            next(answer)
    answer.close()
    return next(n for n in range(100, -1, -1) if n == 0 or _are_left(quotas, n))


def _are_left(quotas: QuotaLimiter, tokens: int) -> bool:
    try:
        quotas.reserve(CLIENT, tokens)
    except SealgateError:
        return False
    return True


def test_a_finished_answer_costs_the_reported_prompt_tokens() -> None:
    assert left(Elsewhere(3, None), 4) == 100 - 20 - 3


def test_leaving_early_costs_the_largest_possible_prompt() -> None:
    assert left(Elsewhere(3, None), 2) == 100 - 60 - 2


@pytest.mark.parametrize("words", [0, 3])
def test_a_short_timeout_costs_the_largest_possible_prompt(words: int) -> None:
    error = SealgateError(Reason.DEADLINE_TOO_SHORT)
    assert left(Elsewhere(words, error), words + 1) == 100 - 60 - words


def test_a_prompt_that_no_server_read_costs_nothing() -> None:
    assert left(Elsewhere(0, SealgateError(Reason.QUEUE_FULL)), 1) == 100


def test_leaving_before_the_answer_begins_costs_the_largest_possible_prompt() -> None:
    left_call: Any = SimpleNamespace(**vars(CALL) | {"is_active": lambda: False})
    cancelled = SealgateError(Reason.ENGINE_UNAVAILABLE)
    assert left(Elsewhere(0, cancelled, waits=True), 1, left_call) == 100 - 60
    assert left(Elsewhere(0, cancelled, waits=True), 1) == 100


def test_a_timeout_before_the_answer_begins_costs_the_largest_possible_prompt() -> None:
    late = SealgateError(Reason.DEADLINE_TOO_SHORT)
    assert left(Elsewhere(0, late, waits=True), 1) == 100 - 60


class Unmeasured(Generator):
    @contextmanager
    def _begin(self, *_: Any) -> Iterator[StartedAnswer]:
        yield StartedAnswer((), None, iter([AnswerPart((), b"x", "stop", (20, 1))]))


@pytest.mark.parametrize(("found", "verdict"), [(Consequence.FLAG, "suspect"), ("", "")])
def test_a_flagged_prompt_is_recorded_without_screening(
    monkeypatch: pytest.MonkeyPatch, found: str, verdict: str
) -> None:
    monkeypatch.setattr(PromptClassifier, "follows", lambda *_: found)
    live = SimpleNamespace(
        model="m", alias="production", digest="", version=1, sequence=1, policy=""
    )
    live.ready, live.statistics = Unmeasured(CLEARED, TERMS, "elsewhere"), Statistics()
    engine: Any = SimpleNamespace(resolve=lambda *_: live, is_revoked=lambda *_: False)
    screen = ScreeningRules(VerdictActions(adversarial=Consequence.FLAG))
    policy: Any = SimpleNamespace(screen=lambda _: screen, rules=None, digest="")
    entries: list[Any] = []
    receipt = SimpleNamespace(encode=lambda: b"")
    recorder: Any = SimpleNamespace(record=lambda entry: entries.append(entry) or receipt)
    generate = GenerationPipeline(
        engine,
        recorder,
        free_enforcement(engine, lambda: policy),
        QuotaLimiter.of([], QuotaStore()),
        lambda: datetime.now(UTC),
        60,
        Statistics(),
    )
    list(generate.parts(read_chat(json.dumps(CHAT).encode()).request, CALL, True, True))
    assert [(entry.outcome, entry.verdict) for entry in entries] == [
        ("opened", verdict),
        ("answered", verdict),
    ]


PROMPT, NOTHING = 60, Duration()


def test_leaving_early_costs_the_most_tokens_that_came() -> None:
    elsewhere = Elsewhere(3, None, b"four")
    assert left(elsewhere, 2) == 100 - PROMPT - 8
    assert elsewhere.statistics.report(NOTHING).output_tokens == 0


def test_leaving_early_costs_at_most_the_requested_tokens() -> None:
    assert left(Elsewhere(3, None, b"a long part of many tokens"), 2) == 100 - PROMPT - 10


def test_a_finished_answer_costs_the_reported_tokens() -> None:
    elsewhere = Elsewhere(3, None, b"four")
    assert left(elsewhere, 4) == 100 - 20 - 3
    assert elsewhere.statistics.report(NOTHING).output_tokens == 3


def test_an_answer_cut_by_the_server_costs_what_came() -> None:
    error = SealgateError(Reason.ENGINE_UNAVAILABLE)
    assert left(Elsewhere(2, error, b"four"), 3) == 100 - PROMPT - 8
