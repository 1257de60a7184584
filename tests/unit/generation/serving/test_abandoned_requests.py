"""Requests whose caller has left are not run."""

import queue
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from generation.batching.causal_batches import CausalBatches
from generation.models.decoder import TokenizedPrompt
from generation.serving import generator_version as versions
from generation.serving.generator_version import GeneratorVersion
from inference.llm.request import Sampling, SamplingRequest
from sealgate.reasons import Reason, SealgateError

ASKED = SamplingRequest(b"x", False, Sampling(1))


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> GeneratorVersion:
    made: Any = GeneratorVersion.__new__(GeneratorVersion)
    made.terms = SimpleNamespace(
        check=lambda sampling: None,
        prompt_tokens=8,
        screening=SimpleNamespace(window=2, tail=0.4),
    )
    made.decoder = SimpleNamespace(
        cut=lambda asked, most: TokenizedPrompt([1], [True]), joined=lambda screen, ids: None
    )
    made.measured_model = None
    made.measuring = threading.Lock()
    monkeypatch.setattr(versions, "score", lambda *_: 0.5)
    found: GeneratorVersion = made
    return found


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize(("left", "active"), [(60.0, False), (-1.0, True)])
def test_a_request_without_a_caller_is_not_run(
    version: GeneratorVersion, taken: bool, left: float, active: bool
) -> None:
    if taken:
        version.measuring.acquire()
    with pytest.raises(SealgateError) as found:
        version.read(ASKED, time.monotonic() + left, lambda: active)
    assert found.value.reason is Reason.DEADLINE_TOO_SHORT
    assert version.measuring.locked() is taken


def test_a_waiting_request_is_measured(version: GeneratorVersion) -> None:
    assert version.read(ASKED, time.monotonic() + 60, lambda: True).score == 0.5
    assert not version.measuring.locked()


def test_unread_tokens_do_not_pile_up() -> None:
    batches: Any = CausalBatches.__new__(CausalBatches)
    unread: queue.SimpleQueue[Any] = queue.SimpleQueue()
    batches.mutex, batches.answers = threading.Lock(), {"0": unread}
    for count in range(1, 100):
        output = SimpleNamespace(
            request_id="0",
            generated_tokens=[*range(count)],
            error=None,
            is_finished=lambda count=count: count == 99,
        )
        batches.hand_on(output)
    assert unread.qsize() == 1
    ids = batches.ids(unread, time.monotonic() + 60, lambda: True)
    assert list(ids) == [*range(99)]
