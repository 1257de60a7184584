"""Many answers at once: the same tokens as alone, and a cache that is whole afterwards."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from transformers import GenerationConfig

from generation.batching.causal_batches import CausalBatches
from generation.batching.sampling import draw
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.tiny_decoder import prompts
from tests.support.fakes.blocking_worker import until


def ids_of(decoder: LanguageModel, text: str) -> list[int]:
    return decoder.prompt_ids(SamplingRequest(text.encode(), False, Sampling(1)), 200)


def later() -> float:
    return time.monotonic() + 60


def answered(batches: CausalBatches, ids: list[int], sampling: Sampling) -> list[int]:
    with batches.answer(ids, sampling, later()) as answer:
        return list(answer)


def together(batches: CausalBatches, asked: list[tuple[list[int], Sampling]]) -> list[list[int]]:
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda one: answered(batches, *one), asked))


def is_whole(batches: CausalBatches) -> bool:
    processor = batches.manager.batch_processor
    return (
        processor is not None
        and batches.room.free == batches.room.pages
        and not processor.scheduler.active_requests
        and not processor.scheduler.waiting_requests
        and processor.cache.compute_free_capacity() == 1.0
    )


def test_greedy_tokens_equal_generates(batches: CausalBatches, decoder: LanguageModel) -> None:
    cut = [ids_of(decoder, text) for text in prompts(12)]
    found = together(batches, [(ids, Sampling(12)) for ids in cut])
    settings = GenerationConfig(
        max_new_tokens=12, do_sample=False, eos_token_id=list(decoder.ends), pad_token_id=0
    )
    for ids, tokens in zip(cut, found, strict=True):
        expected = decoder.model.generate(torch.tensor([ids]), generation_config=settings)
        assert tokens == expected[0, len(ids) :].tolist()


def test_a_seed_gives_the_same_tokens_in_any_company(
    batches: CausalBatches, decoder: LanguageModel
) -> None:
    ids = ids_of(decoder, "The import statement")
    drawn = Sampling(16, temperature=1.0, top_p=0.9, seed=7)
    alone = answered(batches, ids, drawn)
    others = [
        (ids_of(decoder, text), Sampling(16, 1.0, seed=at)) for at, text in enumerate(prompts(6))
    ]
    assert together(batches, [*others[:3], (ids, drawn), *others[3:]])[3] == alone
    assert answered(batches, ids, Sampling(16, 1.0, 0.9, seed=8)) != alone


def test_tokens_are_drawn_as_the_documentation_says(
    batches: CausalBatches, decoder: LanguageModel
) -> None:
    ids = ids_of(decoder, "A class definition")
    sampling = Sampling(8, temperature=0.8, top_p=0.95, seed=3)
    tokens = list(ids)
    for _ in range(8):
        logits = decoder.model(torch.tensor([tokens])).logits[0, -1]
        tokens.append(draw(logits, sampling, len(tokens)))
        if tokens[-1] in decoder.ends:
            break
    assert answered(batches, ids, sampling) == tokens[len(ids) :]


def test_a_thousand_cancellations_leave_the_cache_whole(
    batches: CausalBatches, decoder: LanguageModel
) -> None:
    ids = ids_of(decoder, "The with statement")
    for turn in range(1000):
        with batches.answer(ids, Sampling(64), later()) as answer:
            # Some are cancelled before they have begun, some in the middle.
            if turn % 10 == 0:
                next(answer)
    until(lambda: is_whole(batches))
    assert len(answered(batches, ids, Sampling(4))) == 4


def test_who_waits_too_long_or_has_gone_is_refused(
    batches: CausalBatches, decoder: LanguageModel
) -> None:
    ids = ids_of(decoder, "A function")
    with (
        batches.answer(ids, Sampling(batches.room.pages * 16 - 32), later()),
        pytest.raises(SealgateError) as found,
        batches.answer(ids, Sampling(64), time.monotonic()),
    ):
        raise AssertionError("it had room")
    assert found.value.reason is Reason.DEADLINE_TOO_SHORT
    until(lambda: is_whole(batches))


def test_a_queue_that_is_full_is_told(batches: CausalBatches, decoder: LanguageModel) -> None:
    ids, gone = ids_of(decoder, "A module"), threading.Event()

    def wait() -> None:
        with (
            pytest.raises(SealgateError),
            batches.answer(ids, Sampling(64), later(), lambda: not gone.is_set()),
        ):
            raise AssertionError("it had room")

    with batches.answer(ids, Sampling(batches.room.pages * 16 - 32), later()):
        waiting = [threading.Thread(target=wait) for _ in range(8)]
        for thread in waiting:
            thread.start()
        until(lambda: batches.room.waiting == 8)
        with pytest.raises(SealgateError) as found, batches.answer(ids, Sampling(64), later()):
            raise AssertionError("it had room")
        assert found.value.reason is Reason.QUEUE_FULL
        gone.set()
        for thread in waiting:
            thread.join()
    until(lambda: is_whole(batches))


def test_more_than_the_cache_holds_is_refused(
    batches: CausalBatches, decoder: LanguageModel
) -> None:
    with (
        pytest.raises(SealgateError) as found,
        batches.answer([1] * 2000, Sampling(64), later()),
    ):
        raise AssertionError("it had room")
    assert found.value.reason is Reason.PROMPT_TOO_LONG


def test_an_engine_that_dies_begins_anew(
    own_batches: CausalBatches, decoder: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of(decoder, "The raise statement")
    dead = own_batches.manager
    with own_batches.answer(ids, Sampling(200), later()) as answer:
        next(answer)
        monkeypatch.setattr(dead.batch_processor, "update_batch", _broken)
        with pytest.raises(SealgateError) as found:
            list(answer)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    until(lambda: own_batches.manager is not dead)
    assert len(answered(own_batches, ids, Sampling(4))) == 4


def _broken() -> None:
    raise RuntimeError("it broke")


def test_after_the_end_nothing_is_answered(
    own_batches: CausalBatches, decoder: LanguageModel
) -> None:
    own_batches.close()
    with (
        pytest.raises(SealgateError) as found,
        own_batches.answer(ids_of(decoder, "A list"), Sampling(4), later()),
    ):
        raise AssertionError("it answers")
    assert found.value.reason is Reason.DRAINING
