"""Prompts in five languages, made of parts."""

from demo.abroad import PHRASES, harmless, injections


def test_they_are_the_same_each_time_and_of_all_languages_in_turn() -> None:
    some = list(injections(20))
    assert some == list(injections(20))
    doings = [said.doings + said.showing + said.roles for said in PHRASES.values()]
    for number, text in enumerate(some):
        assert text.startswith(tuple(doings[number % len(PHRASES)]))


def test_no_harmless_request_is_an_injection() -> None:
    assert not set(harmless(500)) & set(injections(500))
    assert len(set(harmless(500))) > 300
