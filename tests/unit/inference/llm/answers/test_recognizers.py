"""What counts as a secret or as personal data, and what only looks like it."""

import hashlib
import time

import pytest

from inference.llm.answers.recognizers import Canaries, RepeatedPrompt, personal, secrets


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1B2" * 9,
        "xoxb-1234567890-abcdefghij",
        "sk_live_" + "0123456789abcdefghijklmn",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "SG." + "a" * 22 + "." + "b" * 43,
        "postgres://admin:hunter2@db.example.org/x",
        "jwt_eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "//registry.npmjs.org/:_authToken=npm_" + "a1B2" * 9,
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nMIIE",
    ],
)
def test_secrets(text: str) -> None:
    assert list(secrets(f"The key is {text} today."))
    assert not list(secrets("The key is in the drawer. See chapter 4, page AK47."))


@pytest.mark.parametrize(
    "text",
    [
        "anna.b@mail.example.org",
        "+49 30 1234567",
        "+1 (415) 555-0132",
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "4111 1111 1111 1111",
        "371449635398431",
        "DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX",
        "536-22-1234",
        "12345678Z",
        "X-1234567-L",
        "RSSMRA85T10A562S",
        "44051401359",
        "2 95 10 99 126 111 93",
    ],
)
def test_personal_data(text: str) -> None:
    (found, *_) = personal(f"It is {text} indeed")
    assert f"It is {text} indeed"[: found.start] == "It is "


@pytest.mark.parametrize("text", ["4000 4111 1111 1111 1111", "RF18 DE89 3704 0044 0532 0130 00"])
def test_a_number_before_it_hides_nothing(text: str) -> None:
    (found, *_) = personal(text)
    assert (found.start, found.end) == (5, len(text))


@pytest.mark.parametrize(
    "text", ["//", "eyJ", "eyJ.", "://a:", "AB12 ", "4111 ", "1-", "a@", "+1 "]
)
def test_no_answer_takes_quadratic_time(text: str) -> None:
    said = text * (200_000 // len(text))
    began = time.thread_time()
    assert not [*secrets(said)]
    assert not [*personal(said)]
    # Linear time is below two seconds; quadratic time is minutes.
    assert time.thread_time() - began < 40


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01",
        "4111 1111 1111 1112",
        "12345678A",
        "44051401358",
        "RSSMRA85T10A562T",
        "666-12-3456",
        "at 10:30 on 2026-11-29, in 1.5 hours",
        "v1.2.3+456",
        "sealgate@localhost",
    ],
)
def test_what_only_looks_like_it(text: str) -> None:
    assert not list(personal(f"It is {text} indeed"))


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
    canary = "blue-heron-1742"
    found = Canaries([f"sha256:{hashlib.sha256(canary.encode()).hexdigest()}"])
    assert list(found(f"It is {said.format(canary)} indeed"))
    assert not list(found("It is blue-heron-1743 indeed"))
