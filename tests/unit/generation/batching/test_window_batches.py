"""Many answers at once in attention windows: the same as alone, in memory that is bounded."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from generation.batching.attention_windows import install
from generation.batching.step_batches import WindowBatches
from generation.config import GenerationSettings
from generation.models.architectures import FAMILIES, greedy_tokens
from inference.llm.request import Sampling
from inference.llm.terms import WHOLE, AttentionWindows
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models import random_decoder
from tests.support.builders.models.random_decoder import KV_HEADS, LAYERS, WIDTH
from tests.support.fakes.blocking_worker import until

WINDOWS = AttentionWindows(3, (8, WHOLE, 21))
BY_HEAD = AttentionWindows(3, (8, WHOLE, 21, 21, WHOLE, 30), KV_HEADS)
SETTINGS = GenerationSettings(
    Path("copies"), cache_tokens=512, page_tokens=16, step_tokens=32, queue=8
)
LENGTHS = (1, 5, 30, 32, 33, 64, 120)


@pytest.fixture(scope="module")
def batches() -> Iterator[WindowBatches]:
    model = random_decoder.make("qwen2")
    install(model, WINDOWS)
    batches = WindowBatches(model, WINDOWS, [], SETTINGS)
    yield batches
    batches.close()


@pytest.fixture(scope="module")
def by_head() -> Iterator[WindowBatches]:
    model = random_decoder.make("qwen2")
    install(model, BY_HEAD)
    batches = WindowBatches(model, BY_HEAD, [], SETTINGS)
    yield batches
    batches.close()


def answered(batches: WindowBatches, ids: Sequence[int], sampling: Sampling) -> list[int]:
    with batches.answer(ids, sampling, time.monotonic() + 60) as answer:
        return list(answer)


def together(
    batches: WindowBatches, asked: Sequence[tuple[Sequence[int], Sampling]]
) -> list[list[int]]:
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda one: answered(batches, *one), asked))


def is_empty(batches: WindowBatches) -> bool:
    return batches.room.free == batches.room.pages and not batches.elements


def test_answers_of_all_lengths_are_generates(batches: WindowBatches) -> None:
    model = random_decoder.make("qwen2")
    install(model, WINDOWS)
    prompts = [random_decoder.ids(length, length) for length in LENGTHS]
    found = together(batches, [(ids, Sampling(40)) for ids in prompts])
    for ids, tokens in zip(prompts, found, strict=True):
        assert tokens == greedy_tokens(model, [], ids, 40)[len(ids) :]


def test_heads_with_windows_of_their_own_answer_as_generate(by_head: WindowBatches) -> None:
    model = random_decoder.make("qwen2")
    install(model, BY_HEAD)
    prompts = [random_decoder.ids(length, length) for length in LENGTHS]
    found = together(by_head, [(ids, Sampling(40)) for ids in prompts])
    for ids, tokens in zip(prompts, found, strict=True):
        assert tokens == greedy_tokens(model, [], ids, 40)[len(ids) :]


def test_a_seed_gives_the_same_tokens_in_any_company(batches: WindowBatches) -> None:
    ids, drawn = random_decoder.ids(50), Sampling(30, temperature=1.0, top_p=0.9, seed=7)
    alone = answered(batches, ids, drawn)
    others = [
        (random_decoder.ids(length, length), Sampling(30, 1.0, seed=length)) for length in LENGTHS
    ]
    assert together(batches, [*others[:3], (ids, drawn), *others[3:]])[3] == alone
    assert answered(batches, ids, Sampling(30, 1.0, 0.9, seed=8)) != alone


def test_caches_hold_no_more_than_was_reserved(batches: WindowBatches) -> None:
    until(lambda: is_empty(batches))
    ids, sampling = random_decoder.ids(120), Sampling(40)
    numbers = 2 * KV_HEADS * WIDTH
    with batches.answer(ids, sampling, time.monotonic() + 60) as answer:
        for _ in range(10):
            next(answer)
        # 11 of the first layer, 160 of the one that keeps all, 24 of the third.
        assert batches.elements == numbers * (11 + 160 + 24)
        taken = batches.room.pages - batches.room.free
        assert taken == -(-WINDOWS.equivalent(160) // SETTINGS.page_tokens) == 5
        assert batches.elements <= taken * SETTINGS.page_tokens * LAYERS * numbers
    until(lambda: is_empty(batches))


def test_windows_let_answers_in_that_full_attention_has_no_room_for() -> None:
    model = random_decoder.make("llama")
    narrow = AttentionWindows(4, (28, 28, 28))
    install(model, narrow)
    batches = WindowBatches(model, narrow, [], replace(SETTINGS, cache_tokens=64))
    try:
        found = together(
            batches, [(random_decoder.ids(200, seed), Sampling(30)) for seed in range(4)]
        )
        assert [len(tokens) for tokens in found] == [30] * 4
        until(lambda: is_empty(batches))
    finally:
        batches.close()


def test_what_has_no_room_even_in_windows_is_refused(batches: WindowBatches) -> None:
    with pytest.raises(SealgateError) as found:
        answered(batches, random_decoder.ids(1500), Sampling(10))
    assert found.value.reason is Reason.PROMPT_TOO_LONG


def test_an_answer_that_is_left_frees_its_caches(batches: WindowBatches) -> None:
    with batches.answer(random_decoder.ids(40), Sampling(400), time.monotonic() + 60) as answer:
        next(answer)
    until(lambda: is_empty(batches))


def test_a_failing_step_fails_its_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_decoder.make("llama")
    install(model, WINDOWS)
    batches = WindowBatches(model, WINDOWS, [], SETTINGS)
    ids = random_decoder.ids(20)
    expected = answered(batches, ids, Sampling(5))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(model.model, "forward", _failing)
            with pytest.raises(SealgateError) as found:
                answered(batches, ids, Sampling(5))
        assert found.value.reason is Reason.ENGINE_UNAVAILABLE
        assert answered(batches, ids, Sampling(5)) == expected
    finally:
        batches.close()
    with pytest.raises(SealgateError) as found:
        answered(batches, ids, Sampling(5))
    assert found.value.reason is Reason.DRAINING


def test_a_long_prompt_keeps_no_answer_waiting() -> None:
    """Others go on between its pieces."""
    model = random_decoder.make("qwen2")
    install(model, WINDOWS)
    batches = WindowBatches(model, WINDOWS, [], SETTINGS)
    sizes: list[int] = []
    forward = model.model.forward

    def noted(*given: Any, **named: Any) -> Any:
        sizes.append(named["input_ids"].shape[1])
        return forward(*given, **named)

    model.model.forward = noted
    try:
        with batches.answer(random_decoder.ids(4), Sampling(300), time.monotonic() + 60) as first:
            next(first)
            long = threading.Thread(
                target=answered, args=(batches, random_decoder.ids(128), Sampling(1))
            )
            long.start()
            long.join(60)
        assert sizes.count(33) == 4
    finally:
        batches.close()


def test_the_family_serves_windows_by_these_batches(batches: WindowBatches) -> None:
    model = random_decoder.make("llama")
    family = FAMILIES["llama"]
    family.attend(model, WINDOWS)
    served = family.answers(model, [], SETTINGS, 64)
    try:
        assert isinstance(served, WindowBatches)
    finally:
        served.close()


def test_an_encoder_decoder_has_no_windows() -> None:
    with pytest.raises(SealgateError) as found:
        FAMILIES["t5"].attend(random_decoder.make("llama"), WINDOWS)
    assert found.value.reason is Reason.ENGINE_UNSUITABLE
    assert found.value.detail == "an encoder-decoder has no attention windows"


def _failing(*_: Any, **__: Any) -> torch.Tensor:
    raise RuntimeError("out of memory")
