"""The texts and attacks of `make bench NAME=texts`."""

import numpy as np
import pytest

from benchmarks.screening.texts import __main__ as program
from benchmarks.screening.texts.attacks import MOST_WORDS, UNSEEN, greedy, mistakes
from benchmarks.screening.texts.corpora import EMAILS, SLICES, cut

WORSE = {"good": "fine", "great": "grand"}


def logits(texts: list[str]) -> np.ndarray:
    """Class 1 of a text in which more words are praise than not."""
    words = [text.split(" ") for text in texts]
    praise = np.array([sum(word in WORSE for word in each) for each in words], np.float32)
    return np.stack([np.full(len(texts), 1.5, np.float32), praise], axis=1)


def replaced(word: str) -> tuple[str, ...]:
    return (WORSE[word],) if word in WORSE else ()


def test_words_are_exchanged_until_another_class_is_answered() -> None:
    found = greedy(logits, "a good and great and good day", 1, replaced)
    words = found.split(" ")
    assert sum(word in WORSE for word in words) == 1
    assert [word for word in words if word not in {"good", "great", "fine", "grand"}] == [
        "a",
        "and",
        "and",
        "day",
    ]


def test_no_more_than_two_words_in_five_are_exchanged() -> None:
    text = "good great good great good"
    found = greedy(logits, text, 1, replaced)
    changed = sum(a != b for a, b in zip(text.split(" "), found.split(" "), strict=True))
    assert changed == int(MOST_WORDS * 5)


def test_a_text_with_nothing_to_exchange_stays() -> None:
    assert greedy(logits, "a day", 1, replaced) == "a day"


@pytest.mark.parametrize("word", ["letter", "abc"])
def test_a_mistyped_word_keeps_its_first_letter_or_swaps_it(word: str) -> None:
    found = mistakes(word)
    assert len(found) == 4
    assert [len(each) - len(word) for each in found] == [-1, 1, 0, 0]
    assert word not in (found[0], found[1])


@pytest.mark.parametrize("word", ["ab", "2026", "a-b-c"])
def test_short_words_and_figures_are_not_mistyped(word: str) -> None:
    assert mistakes(word) == ()


def test_texts_that_begin_alike_are_in_one_slice() -> None:
    many = [(f"Dear friend number {number} , hello there", number % 2) for number in range(6000)]
    twice = [("one two three four five six seven eight nine ten " + tail, 1) for tail in "ab"]
    slices = cut(EMAILS, [*many, *twice])
    assert {name: len(part.texts) for name, part in slices.items()} == SLICES
    texts = [text for part in slices.values() for text in part.texts]
    assert len(set(texts)) == len(texts)
    assert sum(text.startswith("one two three") for text in texts) <= 1


def test_a_target_is_over_the_attacks_that_the_detector_is_not_shown() -> None:
    caught = dict(zip(UNSEEN, (0.9, 0.7, 0.5, 0.4), strict=True)) | {"who knows": 0.0}
    rows = [
        {"corpus": "e-mails", "attack": attack, "caught at 5%": share}
        for attack, share in caught.items()
    ]
    mean, least = program.targets(rows)
    assert (mean.value, mean.met) == (pytest.approx(0.625), True)
    assert (least.value, least.met) == (0.4, False)


def test_where_no_text_was_turned_nothing_is_measured() -> None:
    rows = [{"corpus": "tweets", "attack": attack} for attack in UNSEEN]
    assert [target.value for target in program.targets(rows)] == [None, None]
