"""A guard that flags says so by the verdict `suspect`. Where nobody measures prompts there was no
verdict to make it of, and what the guard had found stood in no entry.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.admission.quotas import Quotas
from gateway.config.quotas import QuotaStore
from gateway.pipeline.generate import Generate
from gateway.screening.prompt_classifier import PromptGuard
from gateway.transport.http.chat import read_chat
from inference.generators import Begun, Generator
from inference.remote.prompts import Piece
from inference.statistics import Statistics
from sealgate.trust.policy_parts import FLAG
from sealgate.trust.screens import Screen, Verdicts
from tests.regress.gateway.test_prompts_that_cost_no_quota import CALL, CHAT, CLEARED, TERMS


class Unmeasured(Generator):
    @contextmanager
    def _begin(self, *_: Any) -> Iterator[Begun]:
        yield Begun((), None, iter([Piece((), b"x", "stop", (20, 1))]))


@pytest.mark.parametrize(("found", "verdict"), [(FLAG, "suspect"), ("", "")])
def test_what_a_guard_flags_is_recorded(
    monkeypatch: pytest.MonkeyPatch, found: str, verdict: str
) -> None:
    monkeypatch.setattr(PromptGuard, "follows", lambda *_: found)
    live = SimpleNamespace(alias="production", digest="", version=1, sequence=1, policy="")
    live.ready, live.statistics = Unmeasured(CLEARED, TERMS, "elsewhere"), Statistics()
    engine: Any = SimpleNamespace(resolve=lambda *_: live, is_revoked=lambda *_: False)
    screen = Screen(Verdicts(adversarial=FLAG))
    policy: Any = SimpleNamespace(screen=lambda _: screen, rules=None, digest="")
    entries: list[Any] = []
    receipt = SimpleNamespace(encode=lambda: b"")
    recorder: Any = SimpleNamespace(record=lambda entry: entries.append(entry) or receipt)
    generate = Generate(
        engine,
        recorder,
        lambda: policy,
        SimpleNamespace(check=lambda *_: None),  # type: ignore[arg-type]
        Quotas.of([], QuotaStore()),
        lambda: datetime.now(UTC),
        60,
        Statistics(),
    )
    list(generate.parts(read_chat(json.dumps(CHAT).encode()).request, CALL, True, True))
    assert [(entry.outcome, entry.verdict) for entry in entries] == [
        ("opened", verdict),
        ("answered", verdict),
    ]
