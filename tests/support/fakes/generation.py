"""Generation on paper: `GenerationPipeline` with a language model that says what it is told to,
before an engine, a policy and a log that let everything pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from gateway.admission.quotas import QuotaLimiter
from gateway.calls.call import CallCleanup
from gateway.config.optional_sections import QuotaStore
from gateway.pipeline.enforcement import Enforcement
from gateway.pipeline.generate import GenerationPipeline
from inference.backends.remote.generator import Generator, StartedAnswer
from inference.engine.statistics import Statistics
from inference.llm.messages import AnswerPart
from sealgate.trust.policy import Consequence
from sealgate.trust.policy.answers import AnswerRules
from sealgate.trust.policy.screening import ScreeningRules, VerdictActions


class Stream:
    """Of gRPC: keeps what it is to call back until it ends."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self.is_over = False

    def add_callback(self, callback: Callable[[], None]) -> bool:
        if not self.is_over:
            self.callbacks.append(callback)
        return not self.is_over

    def end(self) -> None:
        self.is_over = True
        for callback in self.callbacks:
            callback()


class ScriptedModel(Generator):
    """Says these pieces, and wants to know when its caller goes."""

    def __init__(self, pieces: Sequence[AnswerPart]) -> None:
        cleared: Any = SimpleNamespace(pointer=SimpleNamespace(model="tiny", version=1, digest=""))
        terms: Any = SimpleNamespace(prompt_tokens=60, output_tokens=10, screening=None)
        terms.check = lambda _: None
        super().__init__(cleared, terms, "on paper")
        self._pieces = pieces

    @contextmanager
    def _begin(
        self, asked: Any, deadline: Any, caller: Any, on_end: Any
    ) -> Iterator[StartedAnswer]:
        on_end(lambda: None)
        yield StartedAnswer((), None, iter(self._pieces))


def generate(
    pieces: Sequence[AnswerPart],
    answers: AnswerRules | None = None,
    records: list[Any] | None = None,
    quotas: Any = None,
    later: Sequence[AnswerRules | None] = (),
    readmit: Callable[..., bool] = lambda *_: False,
) -> GenerationPipeline:
    """It is the model `tiny`, whatever is asked for. `answers` are the policy's rules for answers;
    `records` gets what is recorded; `quotas` are none by default. `later` are the rules of policies
    that follow, one at each look; `readmit` is as for `Enforcement`.
    """
    kept = [] if records is None else records
    saying = ScriptedModel(pieces)
    live = SimpleNamespace(model="tiny", alias="production", version=1, digest="", sequence=1)
    live.ready, live.policy, live.statistics = saying, "", saying.statistics
    policies = [_policy(rules, number) for number, rules in enumerate((answers, *later))]
    engine: Any = SimpleNamespace(
        resolve=lambda *_: live,
        is_revoked=lambda *_: False,
        live=lambda: {("tiny", "production"): live},
    )
    given: Sequence[Any] = (
        engine,
        SimpleNamespace(record=lambda record: kept.append(record) or _receipt(record)),
        free_enforcement(
            engine, lambda: policies.pop(0) if len(policies) > 1 else policies[0], readmit
        ),
        quotas or QuotaLimiter.of([], QuotaStore()),
        lambda: datetime.now(UTC),
        60,
        Statistics(),
    )
    return GenerationPipeline(*given)


def _policy(answers: AnswerRules | None, number: int) -> Any:
    screen = ScreeningRules(VerdictActions(adversarial=Consequence.FLAG), answers=answers)
    digest = f"policy {number}"
    return SimpleNamespace(screen=lambda _: screen, rules=None, digest=digest)


def free_enforcement(
    engine: Any, policy: Callable[[], Any], readmit: Callable[..., bool] = lambda *_: False
) -> Enforcement:
    """By a policy whose rights let everybody ask."""
    rights: Any = SimpleNamespace(check=lambda *_: None)
    unused: Any = None
    return Enforcement(engine, policy, rights, unused, readmit)


def call_on(stream: Stream) -> Any:
    return SimpleNamespace(
        method="/x",
        principal=SimpleNamespace(name="client", roles=("client",)),
        time_remaining=lambda: None,
        is_active=lambda: True,
        add_callback=stream.add_callback,
        cleanup=CallCleanup(stream),
    )


def _receipt(outcome: Any) -> Any:
    return SimpleNamespace(encode=lambda: outcome.outcome.encode())
