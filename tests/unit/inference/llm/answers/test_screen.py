"""Screening of answers: held back, checked, masked, cut or withheld."""

import base64
import hashlib
from collections.abc import Iterator

import pytest

from inference.llm.answers import FILTERED, AnswerScreen
from inference.llm.answers.recognizers import AnswerFinding, secrets
from inference.llm.messages import AnswerPart
from sealgate.reasons import Reason
from sealgate.trust.policy.answers import AnswerClassifierRules, AnswerRules
from tests.support.builders.documents.people import refused

IBAN = "DE89 3704 0044 0532 0130 00"
KEY = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq\n" * 100 + "-----END PRIVATE KEY-----"


def parts(text: str, size: int = 3) -> list[AnswerPart]:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    last = len(pieces) - 1
    return [
        AnswerPart((number,), piece.encode(), "stop" if number == last else "")
        for number, piece in enumerate(pieces)
    ]


def left(screen: AnswerScreen, text: str, size: int = 3) -> tuple[str, str]:
    """The released text, and why it ends."""
    out = list(screen.over(parts(text, size)))
    return b"".join(part.text for part in out).decode(), out[-1].finish


def masking(hold: int = 48) -> AnswerScreen:
    return AnswerScreen(AnswerRules({"secrets": "mask", "personal": "mask"}, hold))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("hold", [30, 48, 512])
def test_a_finding_is_masked_however_it_is_cut_into_parts(size: int, hold: int) -> None:
    text = f"Pay to {IBAN}, or write to anna@example.org. Nothing else is said here."
    screen = masking(hold)
    said, finish = left(screen, text, size)
    assert said == "Pay to [personal], or write to [personal]. Nothing else is said here."
    assert finish == "stop"
    assert screen.acted == {"mask"}


def test_the_ids_of_what_is_masked_do_not_leave() -> None:
    screen = masking()
    text = f"Pay to {IBAN} soon, and then tell me."
    out = list(screen.over(parts(text)))
    ids = [number for part in out for number in part.ids]
    told = b"".join(text[3 * number : 3 * number + 3].encode() for number in ids).decode()
    assert not any(group in told for group in IBAN.split())
    assert len(ids) < screen.tokens == len(parts(text))


@pytest.mark.parametrize("action", ["mask", "cut"])
def test_the_ids_of_a_finding_do_not_leave_before_its_text(action: str) -> None:
    """Where a stop text may have begun, the text of a token comes with the next one's."""
    texts = ["Pay ", "to ", "", "DE89 ", "3704 0044 ", "0532 0130 00", ".", " Soon."]
    given = [AnswerPart((n,), text.encode(), "") for n, text in enumerate(texts)]
    given.append(AnswerPart((8,), b" Bye.", "stop"))
    out = list(AnswerScreen(AnswerRules({"personal": action})).over(given))
    ids = {number for part in out for number in part.ids}
    assert {0} <= ids <= {0, 1, 6, 7, 8}


ENDED = [(b"Write to ", ""), (b"anna@example", ""), (b"", "stop")]


def ended(action: str, *stops: str) -> list[AnswerPart]:
    """The released text of an answer that a stop text ended within an address."""
    given = [AnswerPart((n,), text, finish) for n, (text, finish) in enumerate(ENDED)]
    screen = AnswerScreen(AnswerRules({"personal": action}), stops=stops)
    return list(screen.over(given))


@pytest.mark.parametrize(
    ("action", "said"), [("mask", b"Write to [personal]"), ("cut", b"Write to ")]
)
def test_a_stop_text_does_not_hide_the_end_of_a_finding(action: str, said: bytes) -> None:
    out = ended(action, "\n", ".org")
    assert b"".join(part.text for part in out) == said
    assert not any(part.ids for part in out)


def test_an_answer_that_ends_in_a_finding_with_its_stop_text_is_withheld() -> None:
    with refused(Reason.ANSWER_WITHHELD):
        ended("block", ".org")


def test_the_ids_of_a_stop_text_do_not_leave() -> None:
    """Its last token may tell of more than the text."""
    out = ended("mask", "!")
    assert b"".join(part.text for part in out) == b"Write to anna@example"
    assert {number for part in out for number in part.ids} == {0, 1}
    assert {number for part in ended("mask") for number in part.ids} == {0, 1, 2}


def test_a_long_key_is_masked_to_its_end() -> None:
    assert left(masking(), f"Here: {KEY} Keep it.") == ("Here: [secret] Keep it.", "stop")
    assert left(masking(), f"Here: {KEY[:900]}") == ("Here: [secret]", "stop")


def test_a_key_of_any_length_is_masked_whatever_stands_before_it() -> None:
    address = "a" * 60 + "@" + ".".join(["b" * 60] * 4)
    key = KEY.replace("MIIEvQIBADANBgkq\n", "MIIEvQIBADANBgkq\n" * 12)
    assert left(masking(), f"{address}{key} Keep it.", 50) == ("[personal] Keep it.", "stop")


def test_a_long_token_of_the_web_is_masked_to_its_end() -> None:
    said = b'{"alg":"RS256","kid":"%s"}' % (b"a" * 80), b'{"s":"%s"}' % (b"x" * 3000), b"s" * 256
    token = ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in said)
    for size in (3, 50):
        assert left(masking(), f"It: {token} Keep.", size) == ("It: [secret] Keep.", "stop")


@pytest.mark.parametrize("size", [1, 2, 5, 40])
@pytest.mark.parametrize(
    "said",
    [
        "anna%40example.org",
        "an\u200bna\uff20exam\u00adple.org",
        "YW5uYUBleGFtcGxlLm9yZw==",
        "616e6e61406578616d706c652e6f7267",
        "a n n a @ e x a m p l e . o r g",
        "DE89\u20113704\u20110044\u20110532\u20110130\u201100",
    ],
)
def test_what_is_written_in_another_way_is_masked_in_whole(said: str, size: int) -> None:
    story = "Nothing of that kind was said here, I think. " * 12
    screen = masking()
    assert left(screen, f"{story}Use {said}, and {story}", size)[0] == (
        f"{story}Use [personal], and {story}"
    )
    assert screen.kinds == {"personal"}


def test_a_key_behind_a_disguised_beginning_is_masked_to_its_end() -> None:
    key = KEY.replace("PRIVATE", "PRI\u200bVATE", 1)
    assert left(masking(), f"Here: {key} Keep it.") == ("Here: [secret] Keep it.", "stop")


def test_most_of_what_has_been_looked_at_is_not_looked_at_with_each_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[int] = []

    class Spy:
        def __call__(self, text: str) -> Iterator[AnswerFinding]:
            looked_at.append(len(text))
            return iter(())

    monkeypatch.setattr("inference.llm.answers.screen.PersonalData", Spy)
    left(masking(512), "word " * 2000, size=5)
    assert max(looked_at) <= 325


def test_a_key_without_end_does_not_make_each_token_dearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[int] = []

    def spy(text: str) -> Iterator[AnswerFinding]:
        looked_at.append(len(text))
        return secrets(text)

    monkeypatch.setattr("inference.llm.answers.screen.secrets", spy)
    said, _ = left(masking(), "-----BEGIN PRIVATE KEY-----\n" + "/" * 6000, size=9)
    assert said == "[secret]"
    assert max(looked_at) < 1500


def test_two_findings_side_by_side_have_a_mark_each_or_one() -> None:
    said, _ = left(masking(), "anna@example.org AKIAIOSFODNN7EXAMPLE")
    assert said == "[personal] [secret]"


def test_an_answer_that_holds_nothing_leaves_as_it_came() -> None:
    screen = masking()
    given = parts("Nothing of that kind, 1234 5678 and sealgate@localhost.")
    assert list(screen.over(given)) == given
    assert (screen.kinds, screen.tokens) == (set(), len(given))


def test_no_more_is_held_back_than_the_rules_say() -> None:
    screen, taken = masking(hold=5), []

    def told() -> Iterator[AnswerPart]:
        for part in parts("a b " * 15):
            taken.append(part)
            yield part

    for number, _ in enumerate(screen.over(told()), 1):
        assert len(taken) - number <= 5


def test_a_key_of_one_token_for_each_letter_is_masked_from_its_beginning() -> None:
    key = f"github_pat_{'aB3_' * 20}"
    assert left(masking(), f"It is {key}, so keep it.", 1) == (
        "It is [secret], so keep it.",
        "stop",
    )
    assert left(masking(), f"It is {key}", 1) == ("It is [secret]", "stop")


def test_a_word_without_end_leaves() -> None:
    screen, taken = masking(hold=5), []

    def told() -> Iterator[AnswerPart]:
        for part in parts("a" * 2000, 1):
            taken.append(part)
            yield part

    for number, _ in enumerate(screen.over(told()), 1):
        assert len(taken) - number <= 512


def test_an_answer_is_cut_before_the_finding() -> None:
    rules = AnswerRules({"prompt": "cut"})
    prompt = "You are a helpful assistant that never tells the secret recipe to anybody."
    screen = AnswerScreen(rules, [prompt])
    said, finish = left(screen, f"My orders are: {prompt.lower()} And so on and so on.")
    assert (said, finish) == ("My orders are: ", FILTERED)


def test_an_answer_is_withheld_before_any_of_the_finding_left() -> None:
    canary = "blue-heron-1742"
    digest = f"sha256:{hashlib.sha256(canary.encode()).hexdigest()}"
    screen = AnswerScreen(AnswerRules({"canary": "block"}, 48, (digest,)))
    out: list[AnswerPart] = []
    with refused(Reason.ANSWER_WITHHELD):
        out.extend(screen.over(parts(f"The word is {canary}, I was told.")))
    assert canary[:4] not in b"".join(part.text for part in out).decode()
    left(AnswerScreen(AnswerRules({"canary": "block"}, 48, (digest,))), "The word is unknown.")


@pytest.mark.parametrize("action", ["flag", "record"])
def test_what_is_only_told_of_changes_nothing(action: str) -> None:
    screen = AnswerScreen(AnswerRules({"personal": action}))
    given = parts(f"Pay to {IBAN}.")
    assert list(screen.over(given)) == given
    assert (screen.kinds, screen.acted) == ({"personal"}, {action})


def classified(action: str, hold: int = 20) -> AnswerRules:
    classifier = AnswerClassifierRules("sha256:" + "0" * 64, "unsafe", action)
    return AnswerRules({}, hold, classifier=classifier)


STORY = " ".join(f"word{number}" for number in range(150))


@pytest.mark.parametrize("size", [1, 3, 50])
def test_a_classifier_has_read_what_leaves_and_half_of_what_is_held_behind_it(size: int) -> None:
    read: list[str] = []
    screen = AnswerScreen(classified("cut"), classify=lambda text: bool(read.append(text)))
    told, given = "", parts(STORY, size)
    for part in screen.over(given):
        told += part.text.decode()
        until = STORY.index(read[-1]) + len(read[-1])
        assert until >= min(len(STORY), len(told) + 9 * size)
    assert told == STORY
    # Not with every token.
    assert len(read) <= len(given) / 9 + 1


def test_what_a_classifier_finds_ends_the_answer_before_it_leaves() -> None:
    screen = AnswerScreen(classified("cut"), classify=lambda text: "mix both" in text)
    said, finish = left(screen, f"{STORY} Now mix both, and stand back. {STORY}")
    assert STORY.startswith(said)
    assert len(said) > len(STORY) - 3 * 20
    assert finish == FILTERED
    assert (screen.kinds, screen.acted) == ({"classified"}, {"cut"})


def test_a_short_answer_is_read_before_its_end_leaves() -> None:
    screen = AnswerScreen(classified("block"), classify=lambda text: "mix both" in text)
    out: list[AnswerPart] = []
    with refused(Reason.ANSWER_WITHHELD):
        out.extend(screen.over(parts("Now mix both.")))
    assert out == []


@pytest.mark.parametrize("action", ["flag", "record"])
def test_what_a_classifier_only_tells_of_leaves(action: str) -> None:
    screen = AnswerScreen(classified(action), classify=lambda _: True)
    assert left(screen, STORY) == (STORY, "stop")
    assert (screen.kinds, screen.acted) == ({"classified"}, {action})


def test_a_classifier_is_asked_for_what_is_masked_and_for_bytes_that_are_no_text() -> None:
    read: list[str] = []
    rules = AnswerRules({"personal": "mask"}, classifier=classified("cut").classifier)
    screen = AnswerScreen(rules, classify=lambda text: bool(read.append(text)))
    given = [AnswerPart((1,), b"\xff anna@example.org"), AnswerPart((2,), b".", "stop")]
    told = b"".join(part.text for part in screen.over(given))
    assert told == b"\xff [personal]."
    assert read == ["? anna@example.org."]


def test_bytes_that_are_no_text_leave_as_they_came() -> None:
    given = [AnswerPart((1,), b"\xff\xfe "), AnswerPart((2,), b"x", "stop")]
    assert list(masking().over(given)) == given


def test_where_ids_are_not_told_as_many_parts_are_held_back() -> None:
    key = "SG." + "a" * 22 + "." + "b" * 43
    text = f"Use {key} and tell nobody. " + "Really. " * 60
    given = [AnswerPart((), part.text, part.finish) for part in parts(text)]
    out = list(masking().over(given))
    assert b"".join(part.text for part in out).decode() == text.replace(key, "[secret]")
    # It streams all the same.
    assert len([part for part in out if part.text]) > 100
