"""Recognizers of secrets and personal data, and texts that only look like them."""

import sys
import time
from typing import Any

import pytest

from inference.llm.answers.recognizers import PersonalData, secrets

IBAN = "DE89 3704 0044 0532 0130 00"


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
        "sk-" + "a1B2c3D4e5" * 2 + "T3BlbkFJ" + "a1B2c3D4e5" * 2,
        "sk-name-" + "a1B2c3D4e5" * 2 + "T3BlbkFJ" + "a1B2c3D4e5" * 2,
        "sk-proj-" + "a1B2-c3D4" * 8,
        "sk-ant-api03-" + "a1B2_c3D4" * 10,
        "AIza" + "a1B2-" * 7,
        "github_pat_" + "a1B2c3D4e5" * 8,
        "hf_" + "aBcDeFgHiJ" * 3 + "abcd",
    ],
)
def test_secrets(text: str) -> None:
    assert list(secrets(f"The key is {text} today."))
    assert not list(secrets("The key is in the drawer. See chapter 4, page AK47."))


@pytest.mark.parametrize(
    "key", ["sk_live_" + "a1B2c3D4e5" * 10, "ghp_" + "a1B2" * 20, "AKIAIOSFODNN7EXAMPLE/EXAMPLE+"]
)
def test_a_key_that_is_longer_than_its_form_is_found_to_its_end(key: str) -> None:
    assert [(each.start, each.end) for each in secrets(f"It is {key}.")] == [(6, 6 + len(key))]


def test_a_host_behind_a_password_is_no_part_of_it() -> None:
    text = "postgres://admin:hunter2@db.example.org"
    assert [text[each.start : each.end] for each in secrets(text)] == ["://admin:hunter2@"]


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
        "de89 3704 0044 0532 0130 00",
        "DE89-3704-0044-0532-0130-00",
        "4111.1111.1111.1111",
        "12345678z",
    ],
)
def test_personal_data(text: str) -> None:
    (found, *_) = PersonalData()(f"It is {text} indeed")
    assert f"It is {text} indeed"[: found.start] == "It is "


@pytest.mark.parametrize(
    "text", [IBAN, "4111 1111 1111 1111", "536-22-1234", "+49 30 1234567", "44051401359"]
)
def test_a_mark_of_emphasis_beside_it_hides_nothing(text: str) -> None:
    (found, *_) = PersonalData()(f"It is _{text}_ indeed")
    assert (found.start, found.end) == (7, 7 + len(text))


def test_letters_beside_a_card_or_an_account_hide_nothing() -> None:
    assert [each.start for each in PersonalData()("card4111111111111111x")] == [4]
    assert [each.start for each in PersonalData()(f"IBAN{IBAN}")] == [4]


def test_the_longest_name_before_an_address_is_found() -> None:
    (found,) = PersonalData()("x" * 100 + "anna@example.org")
    assert (found.start, found.end) == (40, 116)


def test_what_has_been_checked_once_is_not_checked_with_each_token() -> None:
    text, checked = "DE12 " * 100, []

    def count(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == "is_valid":
            checked.append(frame.f_code.co_filename)

    find = PersonalData()
    list(find(text))
    sys.setprofile(count)
    try:
        list(find(text))
    finally:
        sys.setprofile(None)
    assert checked == []


@pytest.mark.parametrize("text", ["4000 4111 1111 1111 1111", "RF18 DE89 3704 0044 0532 0130 00"])
def test_a_number_before_it_hides_nothing(text: str) -> None:
    (found, *_) = PersonalData()(text)
    assert (found.start, found.end) == (5, len(text))


@pytest.mark.parametrize(
    "text", ["//", "eyJ", "eyJ.", "://a:", "AB12 ", "4111 ", "1-", "a@", "+1 ", "sk-"]
)
def test_no_answer_takes_quadratic_time(text: str) -> None:
    said = text * (200_000 // len(text))
    began = time.thread_time()
    assert not [*secrets(said)]
    assert not [*PersonalData()(said)]
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
    assert not list(PersonalData()(f"It is {text} indeed"))
