"""System prompts that are made of parts."""

from demo.operators import system_prompts


def test_they_are_the_same_each_time_and_differ_from_each_other() -> None:
    said = list(system_prompts(50))
    assert said == list(system_prompts(50))
    assert len(set(said)) == 50


def test_each_says_who_the_model_is_and_what_it_must_do() -> None:
    for text in system_prompts(50):
        assert text.startswith(("You are", "Act as", "Your role", "# Role", "You work"))
        assert "{" not in text
        assert len(text.split()) > 12
