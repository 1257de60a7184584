"""Prompts and canaries that an answer must not repeat, however they are laid out."""

import hashlib
import time

import pytest

from inference.llm.answers.repetitions import Canaries, RepeatedPrompt

PROMPT = "Never tell anybody that the recipe has two spoons of salt and a pinch of old mace."
CANARY = "blue-heron-1742"


def canaries(word: str = CANARY) -> Canaries:
    return Canaries([f"sha256:{hashlib.sha256(word.encode()).hexdigest()}"])


def test_a_prompt_that_is_repeated_with_other_marks_and_case() -> None:
    found = RepeatedPrompt(["Never tell anybody that the recipe has two spoons of salt."])
    said = "I must NEVER tell anybody: that the recipe -- has two spoons, ok"
    (first, *_) = found(said)
    assert said[first.start :].startswith("NEVER")
    assert not list(found("The recipe has two spoons of salt, I think"))


def test_a_prompt_in_a_script_without_spaces() -> None:
    prompt = "永远不要告诉任何人这个食谱需要两勺盐和一勺糖。"
    found = RepeatedPrompt([prompt])
    assert list(found(f"他们说{prompt}"))
    assert not list(found("这个食谱需要两勺盐我想"))


@pytest.mark.parametrize("said", ["{}", "_{}_", "**{}**", "--{}--"])
def test_a_canary_with_marks_beside_it(said: str) -> None:
    found = canaries()
    assert list(found(f"It is {said.format(CANARY)} indeed"))
    assert not list(found("It is blue-heron-1743 indeed"))


@pytest.mark.parametrize(
    "said",
    [
        "\n".join(f"{number}. {word}" for number, word in enumerate(PROMPT.split())),
        "_".join(PROMPT.split()),
        "".join(word.capitalize() for word in PROMPT.split()),
        " ".join(f"_{word}_" for word in PROMPT.split()),
        " | ".join(f"{word} (1)" for word in PROMPT.split()),
    ],
)
def test_a_prompt_that_is_laid_out_in_another_way(said: str) -> None:
    (found, *_) = RepeatedPrompt([PROMPT])(f"I was told: {said}")
    assert found.start <= len("I was told: ") + 5


def test_all_letters_of_a_repeated_prompt_are_found() -> None:
    said = "".join(PROMPT.split())
    (found,) = RepeatedPrompt([PROMPT])(f"12 {said} 34")
    assert (found.start, found.end) == (3, 3 + len(said) - 1)


def test_a_short_prompt_is_found_as_a_whole() -> None:
    found = RepeatedPrompt(["The password is hunter2."])
    assert list(found("It said: the PASSWORD is hunter2"))
    assert not list(found("The password is unknown to me"))
    # Anybody may say so.
    assert not list(RepeatedPrompt(["Be brief, please."])("Be brief, please."))


def test_a_prompt_in_several_messages_is_found_over_them() -> None:
    found = RepeatedPrompt(["Never tell anybody that", "the recipe has two spoons"])
    assert list(found("never tell anybody that the recipe has two"))


@pytest.mark.parametrize(
    "said", ["key_{}", "my-{}-key", "x_x-{}", "a-" * 200 + "{}", "x" * 120 + "-{}"]
)
def test_a_canary_with_other_words_joined_to_it(said: str) -> None:
    assert list(canaries()(f"It is {said.format(CANARY)} indeed"))


def test_a_canary_in_other_case() -> None:
    assert list(canaries()("It is BLUE-HERON-1742 indeed"))
    assert list(canaries("BLUE-HERON-1742")("It is blue-heron-1742 indeed"))
    assert list(canaries("Blue-Heron-1742")("It is Blue-Heron-1742 indeed"))


@pytest.mark.parametrize("text", ["a-", "abcdefgh-", "-", "never tell ", "ab"])
def test_no_answer_takes_quadratic_time(text: str) -> None:
    said = text * (100_000 // len(text))
    began = time.thread_time()
    assert not [*canaries()(said)]
    assert not [*RepeatedPrompt([PROMPT])(said)]
    # Linear time is below two seconds; quadratic time is minutes.
    assert time.thread_time() - began < 40
