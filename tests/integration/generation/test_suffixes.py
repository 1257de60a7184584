"""The attack that screening of prompts is measured with finds what it looks for, and is seen."""

from dataclasses import replace

import pytest

from generation.models.decoder import LanguageModel
from generation.models.perplexity import WINDOW, calibrate, score, surprises
from inference.llm.request import Sampling, SamplingRequest
from tests.support.builders.models.tiny_decoder import prompts
from tests.support.oracles.gcg import Aim, Attack, Effort, Found, printable

EFFORT = Effort(25, 32, 12)


def ids_of(decoder: LanguageModel, text: str) -> list[int]:
    return decoder.prompt_ids(SamplingRequest(text.encode(), False, Sampling(1)), 200)


def search(decoder: LanguageModel, effort: Effort, number: int) -> Found:
    """A suffix for that prompt."""
    tokenizer = decoder.tokenizer
    special = [i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    attack = Attack(decoder.model, printable(tokenizer, special), ids_of(decoder, "!")[0])
    before, target = (ids_of(decoder, text) for text in (prompts(4)[number], " the same object"))
    return attack.search([Aim(before, [], target)], effort, number)


@pytest.fixture(scope="module")
def found(decoder: LanguageModel) -> list[Found]:
    return [search(decoder, EFFORT, number) for number in range(4)]


def test_the_target_becomes_likelier_than_without_a_suffix(found: list[Found]) -> None:
    assert all(one.loss < one.loss_before for one in found)
    assert sum(one.loss_before - one.loss for one in found) > len(found) * 0.2


def test_the_loss_is_that_of_the_target_behind_prompt_and_suffix(
    decoder: LanguageModel, found: list[Found]
) -> None:
    before, target = ids_of(decoder, prompts(1)[0]), ids_of(decoder, " the same object")
    whole = [*before, *found[0].ids, *target]
    mean = float(surprises(decoder.model, whole)[-len(target) :].mean())
    assert found[0].loss == pytest.approx(mean, rel=1e-3)


def test_suffixes_are_text_that_screening_sees(decoder: LanguageModel, found: list[Found]) -> None:
    clean = [ids_of(decoder, prompt) for prompt in prompts(64)[4:]]
    screen = calibrate([score(decoder.model, ids, WINDOW) for ids in clean], WINDOW)
    for prompt, one in zip(prompts(4), found, strict=True):
        suffix = decoder.tokenizer.decode(list(one.ids))
        assert suffix.isascii()
        assert suffix.isprintable()
        ids = ids_of(decoder, prompt + suffix)
        assert screen.verdict(score(decoder.model, ids, WINDOW)) == "adversarial"


def test_who_knows_the_screen_finds_what_surprises_less(
    decoder: LanguageModel, found: list[Found]
) -> None:
    def surprise(one: Found) -> float:
        ids = [*ids_of(decoder, prompts(1)[0]), *one.ids]
        return float(surprises(decoder.model, ids)[-len(one.ids) :].mean())

    knowing = search(decoder, replace(EFFORT, quiet=1.0), 0)
    assert surprise(knowing) < surprise(found[0])
    assert knowing.loss < knowing.loss_before
