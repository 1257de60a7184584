"""Many answers at once from a T5: the same tokens as alone, and room that is whole afterwards."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from generation.batching.sampling import draw
from generation.batching.step_batches import DecodingRows, TranslationBatches
from generation.config import GenerationSettings
from generation.models.decoder import LanguageModel
from inference.llm.request import Sampling, SamplingRequest
from inference.llm.terms import INT8
from sealgate.reasons import Reason, SealgateError
from tests.support.builders.models.tiny_translator import prompts
from tests.support.fakes.blocking_worker import until

LONGEST = 128


@pytest.fixture(scope="module")
def answers(
    translator: LanguageModel, settings: GenerationSettings
) -> Iterator[TranslationBatches]:
    yield from running(translator, settings)


@pytest.fixture
def own_answers(
    translator: LanguageModel, settings: GenerationSettings
) -> Iterator[TranslationBatches]:
    """For a test that breaks them."""
    yield from running(translator, settings)


def running(
    translator: LanguageModel, settings: GenerationSettings
) -> Iterator[TranslationBatches]:
    found = translator.answers(settings, LONGEST)
    assert isinstance(found, TranslationBatches)
    yield found
    found.close()


@pytest.fixture
def slow_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that no answer has come to its end before a test has done something to it."""
    step = DecodingRows.step

    def slowly(rows: DecodingRows, tokens: Sequence[int]) -> torch.Tensor:
        time.sleep(0.05)
        return step(rows, tokens)

    monkeypatch.setattr(DecodingRows, "step", slowly)


def ids_of(translator: LanguageModel, text: str) -> list[int]:
    return translator.prompt_ids(SamplingRequest(text.encode(), False, Sampling(1)), 96)


def later() -> float:
    return time.monotonic() + 60


def answered(answers: TranslationBatches, ids: list[int], sampling: Sampling) -> list[int]:
    with answers.answer(ids, sampling, later()) as found:
        return list(found)


def together(
    answers: TranslationBatches, asked: list[tuple[list[int], Sampling]], callers: int
) -> list[list[int]]:
    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(lambda one: answered(answers, *one), asked))


@pytest.mark.parametrize("precision", ["float32", INT8])
def test_greedy_tokens_equal_generates_whoever_joins_and_leaves(
    translator_folder: Path, settings: GenerationSettings, precision: str
) -> None:
    translator = LanguageModel.read(translator_folder, precision)
    asked = [
        (ids_of(translator, text), Sampling(5 + 7 * (at % 5)))
        for at, text in enumerate(prompts(24))
    ]
    answers = translator.answers(settings, LONGEST)
    found = together(answers, asked, callers=6)
    answers.close()
    assert len({len(ids) for ids, _ in asked}) > 3
    for (ids, sampling), tokens in zip(asked, found, strict=True):
        assert tokens == translator.greedy(ids, sampling.max_tokens)


def test_rows_that_join_late_change_nothing(translator: LanguageModel) -> None:
    model = translator.model
    first, second = (ids_of(translator, text) for text in prompts(2))
    with torch.inference_mode():
        alone = DecodingRows(model, [second])
        expected = [alone.step([0]), alone.step([7]), alone.step([9])]
        rows, others = DecodingRows(model, [first]), DecodingRows(model, [second])
        for token in (0, 5, 6, 7):
            rows.step([token])
        begun = others.step([0])
        rows.join(others)
        both = rows.step([8, 7])
        rows.keep([1])
        last = rows.step([9])
    for found, wanted in zip((begun, both[1:], last), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_seed_gives_the_same_tokens_in_any_company(
    answers: TranslationBatches, translator: LanguageModel
) -> None:
    cut = [ids_of(translator, text) for text in prompts(7)]
    drawn = Sampling(16, temperature=1.0, top_p=0.9, seed=7)
    alone = answered(answers, cut[0], drawn)
    others = [(ids, Sampling(16, 1.0, seed=at)) for at, ids in enumerate(cut[1:])]
    assert together(answers, [*others[:3], (cut[0], drawn), *others[3:]], callers=7)[3] == alone
    assert answered(answers, cut[0], Sampling(16, 1.0, 0.9, seed=8)) != alone


def test_tokens_are_drawn_as_the_documentation_says(
    answers: TranslationBatches, translator: LanguageModel
) -> None:
    ids = ids_of(translator, prompts(1)[0])
    sampling = Sampling(8, temperature=0.8, top_p=0.95, seed=3)
    said = [0]
    for _ in range(8):
        logits = translator.model(
            input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([said])
        ).logits[0, -1]
        # Places count from the prompt's first token.
        said.append(draw(logits, sampling, len(ids) + len(said) - 1))
        if said[-1] in translator.ends:
            break
    assert answered(answers, ids, sampling) == said[1:]


def test_a_thousand_cancellations_leave_the_room_whole(
    answers: TranslationBatches, translator: LanguageModel
) -> None:
    ids = ids_of(translator, prompts(1)[0])
    expected = translator.greedy(ids, 8)
    for turn in range(1000):
        with answers.answer(ids, Sampling(64), later()) as found:
            # Some are cancelled before they have begun, some in the middle.
            if turn % 10 == 0:
                next(found)
    assert answers.room.free == answers.room.pages
    assert answered(answers, ids, Sampling(8)) == expected
    until(lambda: not answers.running)


def test_no_more_are_taken_than_there_is_room_for(
    answers: TranslationBatches, translator: LanguageModel, settings: GenerationSettings
) -> None:
    assert answers.room.pages == settings.cache_tokens // LONGEST
    ids = ids_of(translator, prompts(1)[0])
    gone = threading.Event()
    with ThreadPoolExecutor(answers.room.pages) as pool:

        def hold() -> None:
            with answers.answer(ids, Sampling(64), later()):
                gone.wait()

        for _ in range(answers.room.pages):
            pool.submit(hold)
        until(lambda: answers.room.free == 0)
        with (
            pytest.raises(SealgateError) as found,
            answers.answer(ids, Sampling(1), time.monotonic()),
        ):
            raise AssertionError("it had room")
        gone.set()
    assert found.value.reason is Reason.DEADLINE_TOO_SHORT


def test_more_than_a_row_holds_is_refused(answers: TranslationBatches) -> None:
    with pytest.raises(SealgateError) as found, answers.answer([5] * LONGEST, Sampling(1), later()):
        raise AssertionError("it had room")
    assert found.value.reason is Reason.PROMPT_TOO_LONG


@pytest.mark.usefixtures("slow_steps")
def test_who_has_gone_gets_no_more(answers: TranslationBatches, translator: LanguageModel) -> None:
    ids = ids_of(translator, prompts(1)[0])
    gone = threading.Event()
    with answers.answer(ids, Sampling(64), later(), lambda: not gone.is_set()) as tokens:
        next(tokens)
        gone.set()
        with pytest.raises(SealgateError) as found:
            list(tokens)
    assert found.value.reason is Reason.DEADLINE_TOO_SHORT


@pytest.mark.usefixtures("slow_steps")
def test_a_step_that_fails_ends_its_answers_and_no_others(
    own_answers: TranslationBatches, translator: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of(translator, prompts(1)[0])
    with monkeypatch.context() as patched, own_answers.answer(ids, Sampling(64), later()) as tokens:
        next(tokens)
        patched.setattr(DecodingRows, "step", _broken)
        with pytest.raises(SealgateError) as found:
            list(tokens)
    assert found.value.reason is Reason.ENGINE_UNAVAILABLE
    assert answered(own_answers, ids, Sampling(4)) == translator.greedy(ids, 4)


def _broken(*_: object) -> None:
    raise RuntimeError("it broke")


@pytest.mark.usefixtures("slow_steps")
def test_after_the_end_nothing_is_answered(
    own_answers: TranslationBatches, translator: LanguageModel
) -> None:
    ids = ids_of(translator, prompts(1)[0])
    with own_answers.answer(ids, Sampling(64), later()) as tokens:
        next(tokens)
        own_answers.close()
        with pytest.raises(SealgateError) as cut:
            list(tokens)
    assert cut.value.reason is Reason.ENGINE_UNAVAILABLE
    with pytest.raises(SealgateError) as found, own_answers.answer(ids, Sampling(4), later()):
        raise AssertionError("it answers")
    assert found.value.reason is Reason.DRAINING
