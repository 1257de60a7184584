"""Requests that speak of instructions and mean no harm."""

import pytest

from benchmarks.guard.prompts import ABOUT
from demo import jailbreaks, planted
from demo.prompts import plain
from demo.talk import talk


def test_it_is_the_same_each_time_and_of_many_kinds() -> None:
    said = list(talk(900))
    assert said == list(talk(900))
    assert len(set(said)) > 700
    assert all(text[0].isupper() for text in said)


@pytest.mark.parametrize(
    ("begins", "least"),
    [
        (("Act as", "You are", "Pretend"), 30),
        (("What is a", "Explain", "Summarise what"), 15),
        (("Our internal assistant", "The chatbot", "The tutor"), 20),
        (("Write a scene", "Outline a story", "Draft a poem"), 20),
        (("The instructions for", "The manual of"), 15),
        (("My son", "A colleague", "The landlord"), 15),
    ],
)
def test_it_is_of_deeds_roles_notions_bots_stories_manuals_and_people(
    begins: tuple[str, ...], least: int
) -> None:
    assert sum(text.startswith(begins) for text in talk(900)) > least


def test_an_attack_may_be_quoted() -> None:
    assert sum("'ignore your rules'" in text for text in talk(900)) > 3


def test_no_part_is_left_open() -> None:
    assert not any("{" in text or "}" in text for text in talk(900))


def test_none_is_an_injection_that_is_learnt_too() -> None:
    injections = {*jailbreaks.injections(2000), *planted.injections(2000)}
    assert not injections & set(talk(9000))


def test_none_is_asked_by_the_benchmark() -> None:
    asked = {plain(text) for text in ABOUT.read_text().splitlines()}
    assert not asked & {plain(text) for text in talk(10_000)}
