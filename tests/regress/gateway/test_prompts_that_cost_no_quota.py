"""Where a server of OpenAI's protocol generates, how many tokens a prompt had is told with the
answer's end. Who left just before it, or gave too little time for it, had the longest prompts read
for nothing, as often as he liked.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.admission.quotas import Quotas
from gateway.config.quotas import Quota, QuotaStore
from gateway.pipeline.generate import Generate
from gateway.transport.http.chat import read_chat
from inference.generators import Begun, Generator
from inference.remote.prompts import Piece
from inference.statistics import Statistics
from sealgate.reasons import Reason, Refusal
from sealgate.trust.policy_parts import FLAG
from sealgate.trust.screens import Screen, Verdicts

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
    """Says so many words, each one `said`, and ends with the error."""

    def __init__(self, words: int, error: Exception | None, said: bytes = b"x") -> None:
        super().__init__(CLEARED, TERMS, "elsewhere")
        self._words, self._error, self._said = words, error, said

    @contextmanager
    def _begin(self, *_: Any) -> Iterator[Begun]:
        yield Begun((), None, self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        for _ in range(self._words):
            yield Piece((), self._said)
        if self._error is not None:
            raise self._error
        yield Piece((), b"", "stop", (20, self._words))


def left(elsewhere: Elsewhere, parts: int) -> int:
    """How many of 100 tokens are left after so many parts of an answer are taken."""
    quotas = Quotas.of([Quota(role="client", tokens="100/hour")], QuotaStore())
    live = SimpleNamespace(alias="production", ready=elsewhere, digest="", version=1, sequence=1)
    live.policy, live.statistics = "", elsewhere.statistics
    engine: Any = SimpleNamespace(resolve=lambda *_: live, is_revoked=lambda *_: False)
    screen = Screen(Verdicts(adversarial=FLAG))
    policy: Any = SimpleNamespace(screen=lambda _: screen, rules=None, digest="")
    receipt = SimpleNamespace(encode=lambda: b"")
    recorder: Any = SimpleNamespace(record=lambda _: receipt)
    rights: Any = SimpleNamespace(check=lambda *_: None)
    generate = Generate(
        engine,
        recorder,
        lambda: policy,
        rights,
        quotas,
        lambda: datetime.now(UTC),
        60,
        Statistics(),
    )
    answer: Any = generate.parts(read_chat(json.dumps(CHAT).encode()).request, CALL, True, True)
    with suppress(Refusal):
        for _ in range(parts):
            next(answer)
    answer.close()
    return next(n for n in range(100, -1, -1) if n == 0 or _are_left(quotas, n))


def _are_left(quotas: Quotas, tokens: int) -> bool:
    try:
        quotas.reserve(CLIENT, tokens)
    except Refusal:
        return False
    return True


def test_who_awaits_the_end_pays_what_is_told() -> None:
    assert left(Elsewhere(3, None), 4) == 100 - 20 - 3


def test_who_goes_before_it_pays_the_most_that_it_can_be() -> None:
    assert left(Elsewhere(3, None), 2) == 100 - 60 - 2


@pytest.mark.parametrize("words", [0, 3])
def test_who_gives_too_little_time_does_too(words: int) -> None:
    error = Refusal(Reason.DEADLINE_TOO_SHORT)
    assert left(Elsewhere(words, error), words + 1) == 100 - 60 - words


def test_a_server_that_read_nothing_costs_nothing() -> None:
    assert left(Elsewhere(0, Refusal(Reason.QUEUE_FULL)), 1) == 100
