"""The attack that screening of prompts is measured with finds what it looks for, and is seen."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from generation.models.decoder import LanguageModel
from generation.models.perplexity import WINDOW, score, surprises
from generation.models.suffixes import printable
from generation.publishing.prompt_screen import calibrated_screen
from inference.llm.request import Sampling, SamplingRequest
from tests.support.builders.models.tiny_decoder import prompts
from tests.support.oracles.gcg import Aim, Attack, Effort, Found

pytestmark = pytest.mark.slow

EFFORT = Effort(25, 32, 20)


def ids_of(decoder: LanguageModel, text: str) -> list[int]:
    return decoder.prompt_ids(SamplingRequest(text.encode(), False, Sampling(1)), 200)


def attack_on(decoder: LanguageModel) -> Attack:
    return Attack(decoder.model, printable(decoder.tokenizer), ids_of(decoder, "!")[0])


def aim_of(decoder: LanguageModel, number: int) -> Aim:
    """That an answer to that prompt begins with a text."""
    before, target = (ids_of(decoder, text) for text in (prompts(4)[number], " the same object"))
    return Aim(before, [], target)


def search(decoder: LanguageModel, effort: Effort, number: int) -> Found:
    """A suffix for that prompt."""
    return attack_on(decoder).search([aim_of(decoder, number)], effort, number)


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
    clean = prompts(64)[4:]
    screen = calibrated_screen(decoder, clean, [ids_of(decoder, each) for each in clean], 200)
    assert screen is not None
    for prompt, one in zip(prompts(4), found, strict=True):
        suffix = decoder.tokenizer.decode(list(one.ids))
        assert suffix.isascii()
        assert suffix.isprintable()
        ids = ids_of(decoder, prompt + suffix)
        joined = decoder.joined(screen, ids)
        found_score = score(decoder.model, ids, WINDOW, tail=screen.tail, joined=joined)
        assert screen.verdict(found_score) == "adversarial"


def test_who_knows_the_screen_finds_what_surprises_less(
    decoder: LanguageModel, found: list[Found]
) -> None:
    def surprise(one: Found) -> float:
        ids = [*ids_of(decoder, prompts(1)[0]), *one.ids]
        return float(surprises(decoder.model, ids)[-len(one.ids) :].mean())

    knowing = search(decoder, replace(EFFORT, quiet=1.0), 0)
    assert surprise(knowing) < surprise(found[0])
    assert knowing.loss < knowing.loss_before


def test_a_suffix_for_several_prompts_lowers_the_mean_loss_of_all(decoder: LanguageModel) -> None:
    attack, aims = attack_on(decoder), [aim_of(decoder, number) for number in range(3)]
    universal = attack.search(aims, EFFORT, 5)
    assert universal.loss < universal.loss_before
    assert [*universal.losses] == sorted(universal.losses, reverse=True)


def test_who_has_the_screen_finds_what_it_lets_pass(decoder: LanguageModel) -> None:
    # One that lets pass what has no `e`.
    def judge(ids: Sequence[int]) -> float:
        return decoder.tokenizer.decode(list(ids)).count("e")

    found = attack_on(decoder).search([aim_of(decoder, 0)], EFFORT, 0, judge)
    assert "e" not in decoder.tokenizer.decode(list(found.ids))
    assert found.loss < found.loss_before


def test_fluent_suffixes_surprise_less_than_exchanged_ones(
    decoder: LanguageModel, found: list[Found]
) -> None:
    fluent = attack_on(decoder).fluent([aim_of(decoder, 0)], EFFORT, 0)
    means = []
    for each in (fluent, found[0]):
        ids = [*ids_of(decoder, prompts(1)[0]), *each.ids]
        means.append(float(surprises(decoder.model, ids)[-len(each.ids) :].mean()))
    assert means[0] < means[1]
    assert fluent.loss < fluent.loss_before
